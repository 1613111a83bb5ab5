"""Keys of datasets and chunks.

Users see them as partition keys.
"""

import re
from dataclasses import dataclass

from bedrock_pipeline.errors import ArgumentError

#: Neither end is a dot or a hyphen: a key is a folder's name, and `..` would be the folder above.
_DATASET = re.compile(r"(?!.*--)(?![.-])[A-Za-z0-9.-]{1,40}(?<![.-])")
_CHUNK = re.compile(
    r"(?P<dataset>[A-Za-z0-9.-]+)--(?:v(?P<version>[0-9]+)-)?(?:r(?P<attempt>[0-9]+)-)?(?P<sequence>[0-9]{5,})"
)


class KeyRuleError(ArgumentError):
    """A key breaks the rule for its kind."""


@dataclass(frozen=True, slots=True)
class ChunkKey:
    """A chunk's place: `<dataset>--00007`, with `v2-` for a later version and `r2-` for a later round."""

    dataset: str
    version: int
    attempt: int
    sequence: int

    def __str__(self) -> str:
        version = f"v{self.version}-" if self.version > 1 else ""
        attempt = f"r{self.attempt}-" if self.attempt > 1 else ""
        return f"{self.dataset}--{version}{attempt}{self.sequence:05}"

    @classmethod
    def parse(cls, key: str) -> "ChunkKey":
        """Take a chunk key apart.

        Raises:
            KeyRuleError: it is not a chunk key.
        """
        found = _CHUNK.fullmatch(key)
        if not found or not _DATASET.fullmatch(found["dataset"]):
            raise KeyRuleError(f"{key!r} is not a chunk key.", "It looks like <dataset>--00007.")
        return cls(
            found["dataset"], int(found["version"] or 1), int(found["attempt"] or 1), int(found["sequence"])
        )


def check_dataset_key(key: str) -> str:
    """The key, where it keeps the rule.

    Raises:
        KeyRuleError: it does not.
    """
    if not _DATASET.fullmatch(key):
        raise KeyRuleError(
            f"{key!r} is not a dataset key.",
            "Use 1 to 40 letters, digits, and between them dots and single hyphens, such as 2026-11-24.",
        )
    return key
