"""Keys of datasets and chunks, which users see as partition keys; and of the datasets of other partitions.

A dataset's key has letters, digits, dots and single hyphens, since it becomes part of S3 keys, chunk keys and job names. A
partition's key may have any characters: hours (`2026-11-24-05:00`), several dimensions (`2026-11-24|eu`). What a dataset's key
cannot have is written as `x` and its UTF-8 bytes in hexadecimal between two dots: `2026-11-24-05.x3A.00`, `2026-11-24.x7C.eu`;
so is a dot where the text itself looks like this. Since a dataset's key begins and ends with a letter or digit, a `q` stands
before or after a dot or hyphen there: `q.x5F.a`. All other dots stay: `v1.10`, `2026.11.24`.
"""

import re
from dataclasses import dataclass
from typing import Final

from bedrock_pipeline.errors import ArgumentError

#: Neither end is a dot or a hyphen: a key is a folder's name, and `..` would be the folder above.
_DATASET = re.compile(r"(?!.*--)(?![.-])[A-Za-z0-9.-]{1,40}(?<![.-])")
_CHUNK = re.compile(
    r"(?P<dataset>[A-Za-z0-9.-]+)--(?:v(?P<version>[0-9]+)-)?(?:r(?P<attempt>[0-9]+)-)?(?P<sequence>[0-9]{5,})"
)

#: What is escaped: what a key cannot have, a hyphen after a hyphen, and a dot that would begin an escape, which ends with one.
_ESCAPED: Final = re.compile(r"(?:[^A-Za-z0-9.-]|(?<=-)-)+|\.(?=x(?:[0-9A-F]{2})+[^A-Za-z0-9-])")
_ESCAPE: Final = re.compile(r"\.x((?:[0-9A-F]{2})+)\.")
#: Where a `q` is added; also where one would be taken for an added one.
_BEGINS, _ENDS = re.compile(r"^(?=q*[.-])"), re.compile(r"(?<=[.-])(q*)$")
_ADDED_FIRST, _ADDED_LAST = re.compile(r"^q(?=q*[.-])"), re.compile(r"(?<=[.-])(q*)q$")


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
        written = _written(key)
        of_partition = (
            f" As the key of a partition it is written {written}." if _DATASET.fullmatch(written) else ""
        )
        raise KeyRuleError(
            f"{key!r} is not a dataset key.",
            "Use 1 to 40 letters, digits, and between them dots and single hyphens, such as 2026-11-24."
            + of_partition,
        )
    return key


def dataset_of(partition_key: str) -> str:
    """The key of the dataset of a partition.

    Raises:
        KeyRuleError: it would have more than 40 characters, or none.
    """
    key = _written(partition_key)
    if not _DATASET.fullmatch(key):
        raise KeyRuleError(
            f"The partition {partition_key!r} makes the dataset key {key!r}, which has {len(key)} characters.",
            "A dataset's key has at most 40: use shorter partition keys.",
        )
    return key


def partition_of(dataset: str) -> str | None:
    """The key of the partition of a dataset; None: no partition makes this key, which was launched by its name."""
    escaped = _ADDED_FIRST.sub("", _ADDED_LAST.sub(r"\1", dataset))
    try:
        partition = _ESCAPE.sub(lambda found: bytes.fromhex(found.group(1)).decode(), escaped)
        return partition if dataset_of(partition) == dataset else None
    except (UnicodeDecodeError, KeyRuleError):
        return None


def _written(partition_key: str) -> str:
    escaped = _ESCAPED.sub(lambda found: f".x{found.group().encode().hex().upper()}.", partition_key)
    return _ENDS.sub(r"\1q", _BEGINS.sub("q", escaped))
