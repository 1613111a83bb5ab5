"""What a version in flight has in S3 is never overwritten: neither by a launch that is rejected nor by packing it again."""

from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.versions import DatasetChangedError
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.reject_duplicates import rejected_uris
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.journey.driven import finish, pipeline, table

#: With `null_text="nothing"` the last but one is a duplicate of the one before; the last is one of the first.
_TEXTS: list[Any] = [*(f"text {n}" for n in range(120)), "nothing", None, "text 0"]


def _objects(deployment: Deployment) -> dict[str, bytes]:
    """Every object below the prefixes of work files and of input."""
    settings = deployment.settings
    return {
        item.uri: deployment.objects.get(item.uri)
        for prefix in (settings.work_prefix, settings.input_prefix)
        for item in deployment.objects.list(settings.uri(prefix, ""))
    }


@pytest.mark.parametrize("pack_again", [False, True])
def test_a_rejected_launch_changes_nothing_of_the_version_in_flight(
    deployment: Deployment, tmp_path: Path, pack_again: bool
) -> None:
    """Both split the same content into canonical records and duplicates differently."""
    one = pipeline(tmp_path, _TEXTS, null_text="nothing")
    assert take_snapshot(deployment, one, "d").duplicates == 2
    [chunk] = pack_dataset(deployment, one, "d").chunks
    submit_chunk(deployment, "p", chunk.chunk_key)
    there = _objects(deployment)
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    with pytest.raises(DatasetChangedError):
        take_snapshot(deployment, one.model_copy(update={"null_text": "n/a"}), "d")
    if pack_again:
        again = pack_dataset(deployment, one, "d")
        assert (again.outcome, again.chunks[0].chunk_id) == ("unchanged", chunk.chunk_id)
        assert [file.uri for file in again.chunks[0].files] == [file.uri for file in chunk.files]
    now = _objects(deployment)
    assert {uri: now.get(uri) for uri in there} == there
    assert now.keys() == there.keys(), "what was rejected is discarded"
    assert {row["record_id"] for row in finish(deployment, one)} == {f"r{n}" for n in range(123)}


def test_an_unchanged_snapshot_is_reported_by_the_folder_that_the_version_has(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, _TEXTS)
    first = take_snapshot(deployment, one, "d")
    there = _objects(deployment)
    again = take_snapshot(deployment, one, "d")
    assert again.unchanged
    assert (again.uri, again.rejected_uri) == (first.uri, first.rejected_uri)
    assert _objects(deployment) == there


def test_a_snapshot_that_cannot_be_uploaded_leaves_nothing(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = deployment.objects.upload

    def fails_at_the_last(path: Path, uri: str) -> None:
        if path.name == "rejected.parquet":
            raise OSError("no connection")
        upload(path, uri)

    monkeypatch.setattr(deployment.objects, "upload", fails_at_the_last)
    with pytest.raises(OSError, match="no connection"):
        take_snapshot(deployment, pipeline(tmp_path, _TEXTS), "d")
    assert _objects(deployment) == {}


def test_packing_otherwise_keeps_the_rejected_records_of_the_first_packing(
    deployment: Deployment, tmp_path: Path
) -> None:
    huge = "x" * 50_000
    limits = {"min_records": 100, "max_file_bytes": 40_000}
    one = pipeline(tmp_path, ["a", "b", huge, huge], limits=limits, below_minimum="hold")
    take_snapshot(deployment, one, "d")
    uris = []
    for policy in ("hold", "pad"):
        if policy == "pad":
            deployment.ledger.interventions.release("p", "d", "pad")
        pack_dataset(deployment, one, "d")
        row = deployment.ledger.datasets.get("p", "d")
        assert row is not None
        uris.append(rejected_uris(row))
        rejected = [id_ for uri in uris[-1] for id_ in table(deployment, uri)["record_id"].to_pylist()]
        assert sorted(rejected) == ["r2", "r3"]
    assert not set(uris[0]) & set(uris[1])
