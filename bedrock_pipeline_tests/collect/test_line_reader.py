"""Streams are cut at line ends, whatever the size of buffers and lines."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.collect import line_reader
from bedrock_pipeline.collect.line_reader import Lines, buffers


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    data=st.data(),
)
def test_every_line_comes_once_and_whole(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(lines) + data.draw(st.sampled_from([b"", b"\n"]))
    with pytest.MonkeyPatch.context() as patch:
        size = data.draw(st.integers(1, 50))
        patch.setattr(line_reader, "BUFFER_BYTES", size)
        patch.setattr(line_reader, "_LOOK_BYTES", data.draw(st.integers(1, 20)))
        parts = [bytes(part) for part in buffers(io.BytesIO(stream))]
    found = [line for part in parts for line in Lines.of(memoryview(part))]
    longest = max(map(len, lines), default=0) + 1
    assert all(len(part) <= size + 2 * longest for part in parts), "memory grows with the stream"
    assert found == re.findall(rb"[^\n]*\n|[^\n]+", stream)
