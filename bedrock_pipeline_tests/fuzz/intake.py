"""Fuzzed: files of every format."""

import gzip
import io
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.files.folders import LocalFolder
from bedrock_pipeline.files.pack_files import pack_files
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.sources import open_location
from bedrock_pipeline.sources.errors import TypesChangedError
from bedrock_pipeline.sources.location import FilesSource
from bedrock_pipeline_tests.fuzz.requests import CLAUDE, SECRET, rendered

#: Endings of files; lines of JSON are the most frequent, since each is a row of its own.
FORMATS: Final = ("jsonl", "jsonl", "jsonl", "json", "csv", "csv", "parquet", "arrow", "csv.gz", "jsonl.gz")
_PIPELINE: Final = Pipeline.model_validate(
    {
        "name": "p",
        "model_id": CLAUDE,
        "prompt": "{{ t }}",
        "record_id": "id",
        "carry": ("t",),
        "limits": Limits(min_records=1),
    }
)
_NOWHERE: Any = None
_GOOD: Final = [f'{{"id": "good-{number}", "t": "good {number}"}}\n'.encode() for number in (1, 2)]


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="bedrock-pipeline-fuzz-"))


def intake(data: bytes) -> None:
    """A file is read, or is an error of its own; a line of JSON costs no other its row."""
    if len(data) < 2:  # two bytes say what it is
        return
    ending, rest = FORMATS[data[0] % len(FORMATS)], data[2:]
    lines = ending.startswith("jsonl")
    content = _GOOD[0] + rest + b"\n" + _GOOD[1] if lines else rest
    path = _folder() / f"a.{ending}"
    path.write_bytes(gzip.compress(content, 1) if ending.endswith(".gz") else content)
    has_good = lines and b"good-" not in rest
    said = ""
    found: set[str] = set()
    reasons: set[str] = set()
    try:
        source = open_location(str(path), _NOWHERE)
        whole = data[1] % 16 == 0
        found, reasons = _packed(source) if whole else _read(source)
    except InvalidInputError as error:
        said = error.what
    assert not (said and has_good), "lines of JSON are no input because of one of them"
    assert SECRET.decode() not in said or not has_good
    if has_good:
        assert {"good-1", "good-2"} <= found, "a good line is rejected because of another"
        assert SECRET.decode() not in "".join(reasons)


def _read(source: FilesSource) -> tuple[set[str], set[str]]:
    """Ids and reasons, read and rendered in memory."""
    plan = SnapshotPlan.of(_PIPELINE)
    available = tuple(source.columns(plan.named))
    plan.check(available)
    for last in (False, True):
        found: set[str] = set()
        reasons: set[str] = set()
        try:
            for batch in source.batches(plan.read(available)):
                lines = rendered(_PIPELINE, batch, available)
                found |= {*lines.lines.index["record_id"].to_pylist()}
                reasons |= {one.reason for one in lines.rejected}
        except TypesChangedError:
            assert not last, "types change once"
        else:
            break
    return found, reasons


def _packed(source: FilesSource) -> tuple[set[str], set[str]]:
    """The same, through the files that `bedrock-pipeline pack` writes."""
    with tempfile.TemporaryDirectory(dir=_folder()) as name:
        report = pack_files(source, _PIPELINE, LocalFolder(Path(name) / "out"))
        indexes = [pq.read_table(one) for one in Path(name).rglob("index.parquet")]
        return {one for index in indexes for one in index["record_id"].to_pylist()}, {*report.rejections}


def seeds() -> Iterator[bytes]:
    """Small files of each format."""
    rows = [{"id": "1", "t": "hunter 2"}, {"id": "2", "t": "x"}]
    table = pa.table({"id": ["1", "2"], "t": ["hunter 2", None], "n": [1.5, 2]})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, use_dictionary=["t"])
    feather.write_feather(table, arrow, compression="uncompressed")
    line = b'{"id": "1", "t": "hunter 2", "more": {"a": [1, 2.5, null, true]}}\n{"id": 2, "t": 3}\n'
    by_format = {
        "jsonl": line,
        "json": str(rows).replace("'", '"').encode(),
        "csv": b'id,t\n1,hunter 2\n"2","a ""b""\n\nc"\n',
        "parquet": parquet.getvalue(),
        "arrow": arrow.getvalue(),
    }
    for number, ending in enumerate(FORMATS):
        for whole in (0, 1):
            yield bytes([number, whole]) + by_format[ending.removesuffix(".gz")]
