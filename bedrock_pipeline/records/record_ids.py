"""Record ids and wire ids.

Bedrock does not document which characters and lengths it accepts, so a record with an unusual record id is sent under a
derived *wire id*, and joined back to its record id afterwards.
"""

import base64
import hashlib
import math
import re
from decimal import Decimal

#: Longest record id of a row, in characters; a task's is in an index of the database, which takes less.
LONGEST, LONGEST_OF_TASK = 4096, 256
# An id that looks like a hash of `wire_id` is hashed too, so that no two records have the same wire id.
_ORDINARY = re.compile(r"(?!x[a-z2-7]{32}$)[A-Za-z0-9._:@/+=#-]{1,64}")
_LARGEST_WHOLE = 2**63
#: What the id of a filler record begins with.
FILLER = "\x00filler "
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def record_id_of(
    value: object, longest: int = LONGEST, *, digest_longer: bool = False
) -> tuple[str | None, str]:
    """A record id from a cell, of at most `longest` characters.

    Args:
        value: of the cell.
        longest: characters.
        digest_longer: whether a longer one is replaced by a digest of it, where the original is carried along.

    Returns:
        The id and an empty reason; or None and why the cell cannot be one.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, "record id is null"
    if isinstance(value, (dict, list, bytes)):
        return None, f"record id is a {type(value).__name__}"
    # A column of whole numbers with a null among them is often stored as floats, which is not how its owner writes it.
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WHOLE
    text = str(int(value)) if isinstance(value, float) and whole else _text(value)
    if not text.strip():
        return None, "record id is empty"
    if len(text) > longest:
        if not digest_longer:
            return None, f"record id is longer than {longest} characters"
        return (
            f"blake2b:{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=32).hexdigest()}",
            "",
        )
    if _CONTROL.search(text):
        return None, "record id has control characters"
    return text, ""


def wire_id(record_id: str) -> str:
    """The id under which a record is sent: its record id if that is ordinary, else a hash of it."""
    if _ORDINARY.fullmatch(record_id):
        return record_id
    return _hashed(record_id)


def later_wire_id(origin: str, record_id: str) -> str:
    """The id under which a record is sent from attempt 2 on, when records of several chunks are pooled.

    `origin` is the UUID of its chunk of attempt 1; two of these may have the same record id.
    """
    return _hashed(f"{origin}\n{record_id}")  # no record id has a newline


def filler_id(number: int) -> str:
    """The id of a filler record; it begins with a control character, which no other record id has."""
    return f"{FILLER}{number}"


def is_filler(record_id: str) -> bool:
    """Whether a record is only there to bring its chunk to the minimum."""
    return record_id.startswith(FILLER)


def _text(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _hashed(text: str) -> str:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    return "x" + base64.b32encode(digest).decode().lower()
