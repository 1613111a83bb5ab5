"""Record ids: from a column or from the content, and how they travel.

What belongs here: the rules of record ids. Which characters and lengths Bedrock takes is not documented, so an
id out of the ordinary travels under a derived *wire id* and is joined back afterwards.
"""

import base64
import hashlib
import math
import re

#: Longest record id, in characters.
LONGEST = 256
# An id that looks like a hash of `wire_id` is hashed too, so that no two records travel under one name.
_ORDINARY = re.compile(r"(?!x[a-z2-7]{32}$)[A-Za-z0-9._:@/+=#-]{1,64}")
_FILLER = "\x00filler "
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def record_id_of(value: object) -> tuple[str | None, str]:
    """A record id from a cell.

    Returns:
        The id and an empty reason; or None and why the cell cannot be one.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, "record id is null"
    if isinstance(value, (dict, list, bytes)):
        return None, f"record id is a {type(value).__name__}"
    text = str(value)
    if not text.strip():
        return None, "record id is empty"
    if len(text) > LONGEST:
        return None, f"record id is longer than {LONGEST} characters"
    if _CONTROL.search(text):
        return None, "record id has control characters"
    return text, ""


def wire_id(record_id: str) -> str:
    """The id under which a record travels: its own where that is ordinary, else a hash of it."""
    if _ORDINARY.fullmatch(record_id):
        return record_id
    return _hashed(record_id)


def later_wire_id(origin: str, record_id: str) -> str:
    """The id under which a record travels from round 2 on, when records of several chunks are pooled.

    Args:
        origin: UUID of the chunk of round 1 that held it; two of them may hold the same record id.
        record_id: its record id.
    """
    return _hashed(f"{origin}\n{record_id}")  # no record id has a newline


def filler_id(number: int) -> str:
    """The id of a filler record; no record of a user can have it, as it begins with a control character."""
    return f"{_FILLER}{number}"


def is_filler(record_id: str) -> bool:
    """Whether a record only fills its chunk up to the minimum."""
    return record_id.startswith(_FILLER)


def _hashed(text: str) -> str:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    return "x" + base64.b32encode(digest).decode().lower()
