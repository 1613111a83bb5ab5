"""Vectors that the kernel reads are those that the scalar rule reads, to the last bit; whatever it does not take goes there."""

import random

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_pipeline.collect.fast_parser import read_runs
from bedrock_pipeline.collect.line_parser import read_line
from bedrock_pipeline.collect.tally import ChunkMetadata
from bedrock_pipeline.kernel import library
from bedrock_pipeline.models import family_of

pytestmark = pytest.mark.skipif(library() is None, reason="the kernel was not built")

METADATA = ChunkMetadata(
    family=family_of("amazon.titan-embed-text-v2:0"),
    model_id="amazon.titan-embed-text-v2:0",
    chunk_key="d--00000",
    job_arn=None,
    attempt=1,
    no_answer=("", ""),
)
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(-10, 10, places=17, allow_nan=False).map(lambda one: format(one, "f")),
    st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["-0", "0", "-0.0", "3.4028235e38", "3.5e38", "1e", "01", "null", '"1"', "[]", "1.", ""]),
)


def _line(numbers: list[str], more: str = "") -> bytes:
    vector = ", ".join(numbers)
    return f'{{"recordId":"a","modelOutput":{{"embedding":[{vector}],"inputTextTokenCount":7{more}}}}}\n'.encode()


def _by_kernel(line: bytes, dimension: int) -> pa.RecordBatch | None:
    [(_, found)] = read_runs([memoryview(line)], METADATA, dimension)
    return found.rows if found else None


def _bits(vector: object) -> bytes:
    return np.array(pa.array([vector], pa.list_(pa.float32())).flatten()).tobytes()


@given(st.lists(NUMBERS, min_size=1, max_size=4))
@example(["9007199254740993"])
@example(["0.1000000014901161193847656250000000000000"])
@example(["8.41470984807896506652"])
@example(["1e-45", "-7.006492321624085e-46"])
def test_a_vector_has_the_bits_of_the_scalar_rule_or_is_left_to_it(numbers: list[str]) -> None:
    line = _line(numbers)
    rows = _by_kernel(line, len(numbers))
    if rows is None:
        return
    _, outcome = read_line(line, METADATA, len(numbers))
    assert not outcome.failed
    assert _bits(rows["embedding"][0].as_py()) == _bits(outcome.row.embedding)
    assert (rows["input_tokens"][0].as_py(), rows["output_tokens"][0].as_py()) == (
        outcome.row.input_tokens,
        outcome.row.output_tokens,
    )


def test_ordinary_vectors_are_read_by_the_kernel() -> None:
    rng = random.Random(3)
    vectors = [[rng.gauss(0, 0.03) for _ in range(1024)] for _ in range(5)]
    vectors += [[float(np.float32(one)) for one in vectors[0]], [0, 1, *vectors[0][2:]]]
    lines = b"".join(
        _line([orjson.dumps(one).decode() for one in vector], ',"embeddingsByType":{"float":[1.5]}')
        for vector in vectors
    )
    rows = _by_kernel(lines, 1024)
    assert rows is not None
    assert _bits(rows["embedding"].flatten().to_pylist()) == _bits([x for vector in vectors for x in vector])


@pytest.mark.parametrize(
    "line",
    [
        _line(["1.5"] * 3),
        _line(["1.5"] * 5),
        _line([]),
        _line(["1.5"] * 4, ',"embeddingsByType":{"binary":[1]}'),
        _line(["1.5"] * 4, ',"embedding":[1,2,3,4]'),
        _line(["1.5"] * 4).replace(b"]", b""),
        _line(["1.5"] * 4)[:40],
    ],
    ids=["shorter", "longer", "empty", "bits too", "twice", "open", "cut off"],
)
def test_other_vectors_are_left_to_the_scalar_rule(line: bytes) -> None:
    assert _by_kernel(line, 4) is None
