"""The limit of tokens in a request, raised for the attempt after a response that was cut off."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.wire_line import body_of


@dataclass(frozen=True, slots=True)
class RaisedLimit:
    """How the limit of a request is raised.

    Attributes:
        paths: where the body of a request may have its limit.
        factor: of one attempt.
        most: the largest limit that the model takes; None if it is not known.
    """

    paths: Sequence[tuple[str, ...]]
    factor: float
    most: int | None

    def ended_at_most(self, output_tokens: int | None) -> bool:
        """Whether a response that was cut off had as many tokens as the model can write, so that no limit is higher."""
        return self.most is not None and output_tokens is not None and output_tokens >= self.most

    def of(self, limit: int) -> int:
        """The limit of the next attempt."""
        raised = math.ceil(limit * self.factor)
        return max(limit, raised if self.most is None else min(raised, self.most))

    def line(self, line: bytes) -> bytes:
        """A line of input with its limit raised, and every other byte as it was; unchanged if its body has no limit."""
        found = limit_of(orjson.loads(body_of(line)), self.paths)
        if found is None:
            return line
        path, limit = found
        # Quotes inside a text are escaped, so that this is a key; one of that name may also stand elsewhere in the body.
        key = re.compile(rb'"%b"\s*:\s*' % re.escape(path[-1].encode()))
        for match in key.finditer(line):
            end = match.end() + len(str(limit))
            changed = b"%b%d%b" % (line[: match.end()], self.of(limit), line[end:])
            if line[match.end() : end] == str(limit).encode() and _has(changed, path, self.of(limit)):
                return changed
        return line


def check_factor(resent: Sequence[Incomplete], family: str, paths: Sequence[tuple[str, ...]]) -> None:
    """Check that a pipeline that raises limits sends again what was cut off, in bodies that have one.

    Raises:
        ValueError: it does not, or they have none.
    """
    if Incomplete.CUT_OFF not in resent:
        raise ValueError(
            "max_tokens_factor: it is for responses that were cut off and are sent again; add 'cut-off' to retry_incomplete"
        )
    if not paths:
        raise ValueError(
            f"max_tokens_factor: requests of family {family} have no limit of tokens that could be raised"
        )


def check_has_limit(body: Any, paths: Sequence[tuple[str, ...]]) -> None:
    """Check that a body has a limit.

    Raises:
        ValueError: it has none.
    """
    if limit_of(body, paths) is None:
        raise ValueError("max_tokens_factor: requests have no limit to raise; set parameters.max_tokens")


def limit_of(body: Any, paths: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], int] | None:
    """Where a request's body has its limit, and the limit; None if it has none."""
    for path in paths:
        value = body
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if type(value) is int and value > 0:
            return path, value
    return None


def _has(line: bytes, path: tuple[str, ...], limit: int) -> bool:
    try:
        return limit_of(orjson.loads(body_of(line)), [path]) == (path, limit)
    except orjson.JSONDecodeError:
        return False
