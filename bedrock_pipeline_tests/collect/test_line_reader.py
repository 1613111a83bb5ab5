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
        patch.setattr(line_reader, "BUFFER_BYTES", data.draw(st.integers(1, 50)))
        patch.setattr(line_reader, "_LOOK_BYTES", data.draw(st.integers(1, 20)))
        found = [line for part in buffers(io.BytesIO(stream)) for line in Lines.of(part)]
    assert found == re.findall(rb"[^\n]*\n|[^\n]+", stream)
