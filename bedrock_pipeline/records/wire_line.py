"""A line of a job's input.

Source: "Format and upload your batch inference data" in the Amazon Bedrock user guide: a line is
`{"recordId": …, "modelInput": {…}}`.
"""

from collections.abc import Iterator, Sequence

import orjson

#: Follows the record id, in which no quote can be (`records.record_ids.wire_id`).
_BODY = b',"modelInput":'


def wire_line(wire_id: str, body: bytes) -> bytes:
    """A line of input with its newline; `body` is the `modelInput` as JSON."""
    return b'{"recordId":%b%b%b}\n' % (orjson.dumps(wire_id), _BODY, body)


def address_of(line: bytes) -> bytes:
    """The wire id of a line of input, in JSON."""
    return line[len(b'{"recordId":') : line.index(_BODY)]


def readdressed(line: bytes, wire_id: str) -> bytes:
    """The same line of input under another wire id."""
    return b'{"recordId":%b%b' % (orjson.dumps(wire_id), line[line.index(_BODY) :])


def body_of(line: bytes) -> bytes:
    """The `modelInput` of a line of input, in JSON."""
    return line[line.index(_BODY) + len(_BODY) : line.rindex(b"}")]


def lines_at(lines: Iterator[bytes], positions: Sequence[int]) -> Iterator[bytes]:
    """The lines at these ascending positions, of all lines of a chunk in the order of its index.

    Raises:
        ValueError: a position is beyond the last line.
    """
    wanted = iter(positions)
    following = next(wanted, None)
    for number, line in enumerate(lines):
        if following is None:
            return
        if number == following:
            yield line
            following = next(wanted, None)
    if following is not None:
        raise ValueError(f"the chunk's input has no line {following}")
