"""Packing: every record in exactly one chunk, no limit ever broken, the same bytes again."""

import tempfile
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan
from bedrock_pipeline.prepare.chunks.packer import BelowMinimumError, TooFewRecordsError, pack
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Line, line_batches_of
from bedrock_pipeline.records.packed_chunk import PackedChunk

_CARRY = pa.schema([("n", pa.int64())])


def lines_of(texts: list[str]) -> list[Line]:
    return [
        Line(
            f"r{number}",
            (number,),
            orjson.dumps({"recordId": f"r{number}", "modelInput": {"t": text}}) + b"\n",
        )
        for number, text in enumerate(texts)
    ]


def packed(lines: list[Line], limits: Limits) -> list[tuple[list[bytes], list[str], list[int], int]]:
    with tempfile.TemporaryDirectory() as folder:
        chunks = pack(line_batches_of(lines, _CARRY), limits, _CARRY, Path(folder))
        return [
            (
                [file.path.read_bytes() for file in told_right(chunk).files],
                pq.read_table(chunk.index)["record_id"].to_pylist(),
                pq.read_table(chunk.index)["n"].to_pylist(),
                chunk.sequence,
            )
            for chunk in chunks
        ]


def told_right(chunk: PackedChunk) -> PackedChunk:
    """The chunk, once what it says of its files is found true."""
    for file in chunk.files:
        data = file.path.read_bytes()
        assert (file.bytes, file.records) == (len(data), data.count(b"\n"))
        assert file.digest == blake3(data).hexdigest()
    assert chunk.records == sum(file.records for file in chunk.files)
    assert chunk.bytes == sum(file.bytes for file in chunk.files)
    return chunk


@settings(max_examples=300)
@given(
    texts=st.lists(st.text(max_size=30), min_size=1, max_size=60),
    low=st.integers(1, 8),
    spare=st.integers(0, 12),
    file_bytes=st.integers(250, 2000),
    files=st.integers(1, 4),
    file_records=st.integers(1, 20),
)
def test_every_record_is_in_exactly_one_chunk_and_no_limit_is_broken(
    texts: list[str], low: int, spare: int, file_bytes: int, files: int, file_records: int
) -> None:
    limits = Limits(
        min_records=low,
        max_records=2 * low - 1 + spare,
        max_file_records=file_records,
        max_file_bytes=file_bytes,
        max_job_bytes=file_bytes * files - 100,
    )
    lines = [line for line in lines_of(texts) if len(line.data) <= limits.max_record_bytes]
    try:
        chunks = packed(lines, limits)
    except BelowMinimumError:
        small = len(lines) < low
        large = sum(len(line.data) for line in lines) > limits.max_job_bytes
        assert small or large, "only too few records, or too large ones, may be rejected"
        return
    assert [one for data, *_ in chunks for one in b"".join(data).splitlines(keepends=True)] == [
        line.data for line in lines
    ]
    assert [one for _, ids, _, _ in chunks for one in ids] == [line.record_id for line in lines]
    assert [one for _, _, carried, _ in chunks for one in carried] == [line.carried[0] for line in lines]
    assert [sequence for *_, sequence in chunks] == list(range(len(chunks)))
    for data, ids, *_ in chunks:
        assert low <= len(ids) <= limits.max_records
        assert sum(map(len, data)) <= limits.max_job_bytes
        assert all(0 < len(one) <= file_bytes for one in data)
        assert all(one.count(b"\n") <= file_records for one in data)
    assert packed(lines, limits) == chunks


def test_a_large_chunk_has_several_files() -> None:
    limits = Limits(min_records=100, max_records=1000, max_file_bytes=10_000, max_job_bytes=50_000)
    [(data, ids, _, _)] = packed(lines_of(["x" * 50] * 400), limits)
    assert len(ids) == 400
    assert [len(one) <= 10_000 for one in data] == [True] * 4


def test_of_too_few_records_nothing_stays_behind(tmp_path: Path) -> None:
    """A file left open would be completed later, into that of whoever packs again under other limits."""
    with pytest.raises(TooFewRecordsError) as raised:
        list(pack(line_batches_of(lines_of(["x"] * 9), _CARRY), Limits(min_records=10), _CARRY, tmp_path))
    assert raised.value.records == 9
    assert list(tmp_path.iterdir()) == []


def test_records_too_large_for_any_job_of_the_minimum_are_rejected_wherever_they_are() -> None:
    limits = Limits(min_records=10, max_records=50, max_file_bytes=1000, max_job_bytes=1000)
    with pytest.raises(BelowMinimumError, match=r"2 records fill a job of 1000 bytes, which needs 10"):
        packed(lines_of(["x" * 300] * 9 + ["x"] * 100), limits)


@pytest.mark.parametrize(
    ("records", "sizes"),
    [
        (100, [100]),
        (1000, [1000]),
        (1001, [501, 500]),
        (1099, [550, 549]),
        (1100, [1000, 100]),
        (2050, [1000, 525, 525]),
    ],
)
def test_the_tail_is_balanced(records: int, sizes: list[int]) -> None:
    limits = Limits(min_records=100, max_records=1000)
    assert [len(ids) for _, ids, _, _ in packed(lines_of(["x"] * records), limits)] == sizes


def test_too_few_records_name_the_limit_and_the_setting() -> None:
    with pytest.raises(BelowMinimumError, match=r"has 99 records.*at least 100.*limits\.min_records"):
        packed(lines_of(["x"] * 99), Limits())


def test_limits_that_no_tail_could_keep_are_rejected() -> None:
    with pytest.raises(ValueError, match="twice min_records"):
        Limits(min_records=100, max_records=150)


@pytest.mark.parametrize("limit", sorted(Limits.model_fields.keys() - {"max_jobs"}))
def test_every_limit_of_a_job_decides_where_chunks_are_cut(limit: str) -> None:
    """It is part of the chunks' content hash: chunks of other limits are other chunks."""
    usual = Limits()
    other = usual.model_copy(update={limit: getattr(usual, limit) // 2})
    assert InvocationPlan("batch", usual).cut != InvocationPlan("batch", other).cut
