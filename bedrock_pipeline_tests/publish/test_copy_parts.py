"""All parts of a publication have one schema, whatever the responses of each chunk had."""

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.aws.objects import ObjectMissingError
from bedrock_pipeline.concurrency import REQUESTS_AT_ONCE
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.publish.copy_parts import copy_parts
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.result_schema import result_schema
from bedrock_pipeline_tests.journey.driven import finish, pipeline

_N = pa.field("n", pa.int64(), metadata={"description": "a number"})
_INT8 = (pa.field("embedding_int8", pa.list_(pa.int8(), 2)),)
#: The vectors of a part, the length that its column has, and further columns.
_PARTS: dict[str, tuple[list[Any], int | None, tuple[pa.Field, ...]]] = {
    "without a vector": ([None, None], None, ()),
    "of 2": ([[1.0, 2.0], None], 2, ()),
    "of 3, and of another type": ([[1.0, 2.0, 3.0], None], 3, _INT8),
    "of several": ([[1.0, 2.0], [1.0]], None, ()),
}


@pytest.mark.parametrize(
    "names",
    [*itertools.permutations(_PARTS, 1), *itertools.permutations(_PARTS, 2), tuple(_PARTS)],
    ids=", then ".join,
)
def test_parts_of_any_vectors_are_published_with_one_schema(
    deployment: Deployment, tmp_path: Path, names: tuple[str, ...]
) -> None:
    parts, expected = [], []
    for number, name in enumerate(names):
        vectors, length, more = _PARTS[name]
        schema = result_schema(pa.schema([_N]), length, more)
        written = [
            {"record_id": f"{number}-{row}", "n": row, "status": "succeeded", "embedding": vector}
            | {field.name: [1, 0] for field in more}
            for row, vector in enumerate(vectors)
        ]
        pq.write_table(pa.Table.from_pylist(written, schema), tmp_path / "part.parquet")
        parts.append(deployment.settings.uri("parts", f"{number}.parquet"))
        deployment.objects.upload(tmp_path / "part.parquet", parts[-1])
        expected += [(row["record_id"], row["embedding"], row.get("embedding_int8")) for row in written]

    targets = [deployment.settings.uri("published", f"part-{number}.parquet") for number in range(len(parts))]
    copied = copy_parts(deployment.objects, parts, targets)

    tables = []
    for number, target in enumerate(targets):
        deployment.objects.download(target, tmp_path / f"{number}.parquet")
        tables.append(pq.read_table(tmp_path / f"{number}.parquet"))
    assert all(table.schema.equals(copied.schema) for table in tables)
    assert all(table.schema.field("n").metadata[b"description"] == b"a number" for table in tables)
    assert copied.schema.field("n").metadata[b"description"] == b"a number"
    assert copied.rows == len(expected)
    fixed = {length for vectors, length, _ in map(_PARTS.__getitem__, names) if any(vectors)}
    assert copied.schema.field("embedding").type == pa.list_(
        pa.float32(), (fixed.pop() if len(fixed) == 1 else None) or -1
    )
    found = [row for table in tables for row in table.to_pylist()]
    assert [(row["record_id"], row["embedding"], row.get("embedding_int8")) for row in found] == expected
    assert pl.scan_parquet(tmp_path / "?.parquet").collect().height == len(expected)
    count = "SELECT count(embedding) FROM read_parquet($1)"
    assert duckdb.execute(count, [f"{tmp_path}/?.parquet"]).fetchall() == [
        (sum(vector is not None for _, vector, _ in expected),)
    ]


def test_without_a_part_there_is_nothing_to_copy(deployment: Deployment) -> None:
    """The publisher then says how many rows are missing."""
    copied = copy_parts(deployment.objects, [], [])
    assert (copied.rows, copied.schema.names) == (0, [])


def test_thousands_of_parts_are_not_copied_one_after_the_other(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy takes S3 up to seconds: as long as that for each, a large dataset would take an hour to publish."""
    parts = _uploaded(deployment, tmp_path, 2 * REQUESTS_AT_ONCE)
    together, copy = threading.Barrier(REQUESTS_AT_ONCE, timeout=60), deployment.objects.copy

    def copied(source: str, target: str) -> None:
        together.wait()
        copy(source, target)

    monkeypatch.setattr(deployment.objects, "copy", copied)
    targets = [part.replace("/parts/", "/published/") for part in parts]
    assert copy_parts(deployment.objects, parts, targets).rows == len(parts)
    assert all(deployment.objects.head(target) for target in targets)


def test_after_a_copy_that_fails_no_other_is_under_way(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the publisher deletes then would else be there again afterwards."""
    parts = _uploaded(deployment, tmp_path, 2 * REQUESTS_AT_ONCE)
    begun, ended, failed = [], [], threading.Event()

    def copied(source: str, target: str) -> None:
        begun.append(target)
        if source == parts[0]:
            failed.set()
            raise ObjectMissingError("It is gone.")
        failed.wait(60)
        time.sleep(0.05)
        ended.append(target)

    monkeypatch.setattr(deployment.objects, "copy", copied)
    with pytest.raises(ObjectMissingError):
        copy_parts(deployment.objects, parts, parts)
    assert len(ended) == len(begun) - 1


def _uploaded(deployment: Deployment, tmp_path: Path, count: int) -> list[str]:
    pq.write_table(pa.table({"record_id": ["a"]}), tmp_path / "part.parquet")
    parts = [deployment.settings.uri("parts", f"{number}.parquet") for number in range(count)]
    for part in parts:
        deployment.objects.upload(tmp_path / "part.parquet", part)
    return parts


def test_bodies_may_ask_for_vectors_of_their_own(deployment: Deployment, tmp_path: Path) -> None:
    """Nothing that was paid is an error, and no column is missing, whichever record comes first."""
    asked: list[dict[str, Any]] = [{"dimensions": 256 if n == 0 else 512} for n in range(100)]
    asked += [{"dimensions": 1024, "embeddingTypes": ["float", "binary"]} for n in range(100)]
    path = tmp_path / "bodies.parquet"
    bodies = [json.dumps({"inputText": f"t{n}"} | more) for n, more in enumerate(asked)]
    pq.write_table(pa.table({"id": [f"r{n}" for n in range(len(asked))], "body": bodies}), path)
    one = pipeline(
        tmp_path,
        [],
        source=str(path),
        model_id="amazon.titan-embed-text-v2:0",
        prompt=None,
        model_input="body",
        carry=(),
        limits=Limits(min_records=50, max_records=100),
    )
    rows = {row["record_id"]: row for row in finish(deployment, one)}
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    for number, more in enumerate(asked):
        row = rows[f"r{number}"]
        assert len(row["embedding"]) == more["dimensions"]
        assert (row["embedding_binary"] is not None) == ("embeddingTypes" in more)
