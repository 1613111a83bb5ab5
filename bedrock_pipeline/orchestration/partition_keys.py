"""From the key of a partition to the key of its dataset, and back.

A dataset's key has letters, digits, dots and single hyphens, since it becomes part of S3 keys, chunk keys and job names. A
partition's key may have any characters: hours (`2026-11-24-05:00`), several dimensions (`2026-11-24|eu`). What a dataset's key
cannot have is written as `x` and its UTF-8 bytes in hexadecimal between two dots: `2026-11-24-05.x3A.00`, `2026-11-24.x7C.eu`;
so is a dot where the text itself looks like this. Since a dataset's key begins and ends with a letter or digit, a `q` stands
before or after a dot or hyphen there: `q.x5F.a`. All other dots stay: `v1.10`, `2026.11.24`.
"""

import re
from typing import Final

from bedrock_pipeline.records.keys import KeyRuleError, check_dataset_key

#: What is escaped: what a key cannot have, a hyphen after a hyphen, and a dot that would begin an escape, which ends with one.
_ESCAPED: Final = re.compile(r"(?:[^A-Za-z0-9.-]|(?<=-)-)+|\.(?=x(?:[0-9A-F]{2})+[^A-Za-z0-9-])")
_ESCAPE: Final = re.compile(r"\.x((?:[0-9A-F]{2})+)\.")
#: Where a `q` is added; also where one would be taken for an added one.
_BEGINS, _ENDS = re.compile(r"^(?=q*[.-])"), re.compile(r"(?<=[.-])(q*)$")
_ADDED_FIRST, _ADDED_LAST = re.compile(r"^q(?=q*[.-])"), re.compile(r"(?<=[.-])(q*)q$")


def dataset_of(partition_key: str) -> str:
    """The key of the dataset of a partition.

    Raises:
        KeyRuleError: it would have more than 40 characters, or none.
    """
    escaped = _ESCAPED.sub(lambda found: f".x{found.group().encode().hex().upper()}.", partition_key)
    key = _ENDS.sub(r"\1q", _BEGINS.sub("q", escaped))
    try:
        return check_dataset_key(key)
    except KeyRuleError:
        raise KeyRuleError(
            f"The partition {partition_key!r} makes the dataset key {key!r}, which has {len(key)} characters.",
            "A dataset's key has at most 40: use shorter partition keys.",
        ) from None


def partition_of(dataset: str) -> str | None:
    """The key of the partition of a dataset; None: no partition makes this key, which was launched by its name."""
    escaped = _ADDED_FIRST.sub("", _ADDED_LAST.sub(r"\1", dataset))
    try:
        partition = _ESCAPE.sub(lambda found: bytes.fromhex(found.group(1)).decode(), escaped)
        return partition if dataset_of(partition) == dataset else None
    except (UnicodeDecodeError, KeyRuleError):
        return None
