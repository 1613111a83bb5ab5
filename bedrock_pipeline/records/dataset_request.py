"""The request of a dataset: the settings that differ from its pipeline's, as launches give them.

What belongs here: what a launch makes of the request before it, and what it changes of what was agreed.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from bedrock_pipeline.records.result_schema import RECORD_ID, check_carry

_CAP: Final = "max_cost_usd"
_TRILLION: Final = 10**12
#: Settings whose values may be shown; others can be long, or contain what nobody else shall read.
_SHOWN: Final = frozenset(
    {"model_id", "family", "invocation", "max_tokens", "record_id", "answer_by", "below_minimum"}
)
_Request = Mapping[str, Any]


def next_request(before: _Request, given: _Request) -> dict[str, Any]:
    """The request after a launch: a cost limit alone leaves the others, and a limit stays until another one is named."""
    kept = (
        before if given and not content_of(given) else {name: before[name] for name in before if name == _CAP}
    )
    return {**kept, **given}


def check_request(request: _Request) -> None:
    """Check what can be said of a request without its pipeline: its limit of cost, and the columns of the results.

    Raises:
        ValueError: the message names the setting or the column.
    """
    if request.get(_CAP) is not None:
        check_cost(_CAP, request[_CAP])
    # The pipeline may take the record ids from a column of their name, which is carried then.
    check_carry(request.get("carry") or (), request.get("record_id") or RECORD_ID)


def check_cost(name: str, value: object) -> None:
    """Check an amount of US dollars: a number above 0, below a trillion.

    Raises:
        ValueError: the message begins with the name.
    """
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        cost = Decimal("NaN")
    if not (cost.is_finite() and 0 < cost < _TRILLION):
        raise ValueError(f"{name}: give US dollars as a number above 0")


def content_of(request: _Request) -> dict[str, Any]:
    """The settings that affect responses; a limit of their cost does not."""
    return {name: value for name, value in request.items() if name != _CAP}


def changes(before: _Request, after: _Request, cap: Decimal | None) -> Iterator[str]:
    """What another request changes, in words; `cap` is the limit in force."""
    for name in sorted(content_of(before).keys() | content_of(after).keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name not in _SHOWN:
            yield name if name in after else f"{name} (not given now: the pipeline's own applies again)"
        else:
            yield f"{name}: {_named(old)} → {_named(new)}"
    yield from cap_changes(after, cap)


def cap_changes(after: _Request, cap: Decimal | None) -> Iterator[str]:
    """That another cost limit than the one in force is named."""
    if cap is not None and after.get(_CAP) is not None and Decimal(str(after[_CAP])) != cap:
        yield f"{_CAP}: ${cap.normalize():f} → ${Decimal(str(after[_CAP])).normalize():f}"


def _named(value: Any) -> str:
    return "the pipeline's own" if value is None else str(value)
