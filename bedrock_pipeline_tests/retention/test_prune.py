"""`bedrock-pipeline prune`: what goes and what stays of real versions, also where it is killed in between."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.chunk_partitions import ChunkPartitions
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.publish.read_results import open_results
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline.retention.prune_version import Pruned, prune
from bedrock_pipeline_tests.faults.worker import move_clock, tick
from bedrock_pipeline_tests.journey.driven import finish, pipeline
from bedrock_pipeline_tests.queue.test_queue import config, task
from bedrock_pipeline_tests.waiting import PATIENCE_S, until

DAY_S = 86_400
AGE = timedelta(days=30)


def run(*words: str) -> Result:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    return done


def objects(deployment: Deployment) -> set[str]:
    """What there is, as the kind of file and its number."""
    return {item.uri for item in deployment.objects.list(deployment.settings.uri(""))}


@pytest.fixture
def two_versions(deployment: Deployment, tmp_path: Path) -> Pipeline:
    """A dataset whose second version is published, 40 days ago."""
    one = pipeline(tmp_path, [f"t{number}" for number in range(120)])
    finish(deployment, one)
    launch_again(deployment)
    publish_second(deployment, one)
    move_clock(deployment, 40 * DAY_S)
    return one


def launch_again(deployment: Deployment) -> None:
    deployment.ledger.datasets.request("p", "d", {"prompt": "Say {{ text }}"}, launch=True, new_version=True)


def publish_second(deployment: Deployment, one: Pipeline) -> None:
    def is_published() -> bool:
        tick(deployment, one)
        row = deployment.ledger.datasets.get("p", "d")
        return row is not None and row.published_version == 2

    until(is_published, "the publication of version 2")
    tick(deployment, one)  # writes latest.json, if the last one did not


def found(deployment: Deployment, **more: Any) -> dict[int, Pruned]:
    return {one.version: one for one in prune(deployment, AGE, **more)}


def test_what_the_published_version_needs_stays(deployment: Deployment, two_versions: Pipeline) -> None:
    before = objects(deployment)
    listed = json.loads(run("prune", "--json").stdout)
    assert objects(deployment) == before, "only looked"
    assert [(one["version"], one["extent"]) for one in listed] == [(1, "everything"), (2, "exchange")]
    shown = run("prune").stdout
    assert "p d v1: input and output of its jobs, snapshot" in shown
    assert "To delete it: the same command with --yes" in shown
    assert all(len(line) <= 80 for line in shown.splitlines()), shown

    assert "deleted: " in run("prune", "p", "--older-than", "30d", "--yes").stdout
    gone = before - objects(deployment)
    assert len(gone) == sum(one["objects"] for one in listed)
    old, new = (deployment.ledger.chunks.of_dataset("p", "d", version) for version in (1, 2))
    assert all(any(str(chunk.chunk_id) in uri for uri in gone) for chunk in (*old, *new))
    left = objects(deployment)
    assert not [uri for uri in left if any(str(chunk.chunk_id) in uri for chunk in old)]
    assert all(chunk.index_uri in left for chunk in new)
    assert not [uri for uri in gone if "/results/" in uri]

    assert open_results(deployment, "p", "d").count_rows() == 120
    assert publish_dataset(deployment, two_versions, "d").unchanged
    assert collect_chunk(deployment, two_versions, new[0].chunk_key).tally.answered == 120
    assert run("status", "p", "d").stdout
    assert run("retry", "p", "d").stdout.startswith("0 rejected chunks")
    assert run("prune").stdout.splitlines()[-1] == "nothing to delete"


def test_a_version_whose_deletion_broke_off_is_finished_the_next_time(
    deployment: Deployment, two_versions: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = found(deployment, delete=False)
    events = deployment.ledger.retention.count_events

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(deployment.ledger.retention, "record_pruned", killed)
        with pytest.raises(KeyboardInterrupt):
            found(deployment, delete=True)
    again = found(deployment, delete=True)
    assert [one.extent for one in again.values()] == [one.extent for one in wanted.values()]
    assert again[1].objects == 0, "they are gone already"
    assert again[1].events == wanted[1].events > 0
    assert not [one for one in found(deployment, delete=False).values() if one.extent]
    assert all(events(one) == 0 for one in deployment.ledger.retention.older_than(AGE))


def test_a_version_that_was_published_goes_whole_once_the_next_one_is(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, [f"t{number}" for number in range(120)])
    finish(deployment, one)
    move_clock(deployment, 40 * DAY_S)
    assert found(deployment, delete=True)[1].extent == "exchange"
    launch_again(deployment)
    while_it_is_prepared = found(deployment, delete=True)
    assert while_it_is_prepared[1].extent is None, "its results are still the published ones"
    publish_second(deployment, one)
    just_replaced = found(deployment, delete=True)
    assert just_replaced[1].extent is None, "its results were the published ones until now"
    move_clock(deployment, 40 * DAY_S)
    assert {version: one.extent for version, one in found(deployment, delete=True).items()} == {
        1: "everything",
        2: "exchange",
    }


def test_a_version_whose_bucket_is_gone_stops_no_other(
    deployment: Deployment, two_versions: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {str(chunk.chunk_id) for chunk in deployment.ledger.chunks.of_dataset("p", "d", 1)}
    real = S3Objects.list

    def listed(objects: S3Objects, prefix: str) -> Any:
        if any(one in prefix for one in gone):
            raise AwsError("Could not list s3://gone: NoSuchBucket.")
        return real(objects, prefix)

    monkeypatch.setattr(S3Objects, "list", listed)
    assert (found(deployment, delete=False)[1].error, found(deployment, delete=False)[2].extent) == (
        "Could not list s3://gone: NoSuchBucket.",
        "exchange",
    )
    done = CliRunner().invoke(cli, ["prune", "--yes"])
    assert done.exit_code == 1
    assert done.output.count("failed") == 1
    assert "p d v1: failed\n  Could not list s3://gone: NoSuchBucket." in done.output
    assert {version: one.error != "" for version, one in found(deployment, delete=False).items()} == {
        1: True,
        2: False,
    }
    monkeypatch.undo()
    assert found(deployment, delete=True)[1].extent == "everything"


def test_partitions_of_chunks_go_with_them(deployment: Deployment, two_versions: Pipeline) -> None:
    names = Names.of(two_versions)
    keys = [
        chunk.chunk_key
        for version in (1, 2)
        for chunk in deployment.ledger.chunks.of_dataset("p", "d", version)
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        names.register(instance, datasets=["d"], chunks=[*keys, "other--00000"])
        read = Mock(wraps=instance.get_dynamic_partitions)
        instance.get_dynamic_partitions = read  # type: ignore[method-assign]  # counts
        looked = found(deployment, delete=False, partitions=ChunkPartitions(instance, delete=False))
        assert sum(one.partitions or 0 for one in looked.values()) == len(keys)
        assert read.call_count == 1, "once for both versions"
        found(deployment, delete=True, partitions=ChunkPartitions(instance, delete=True))
        assert instance.get_dynamic_partitions("p_chunks") == ["other--00000"]
        assert instance.get_dynamic_partitions("p_datasets") == ["d"]


def test_what_a_relaunch_uploads_again_is_pruned_again(
    deployment: Deployment, two_versions: Pipeline
) -> None:
    found(deployment, delete=True)
    assert found(deployment, delete=False)[2].extent is None
    before = objects(deployment)
    deployment.ledger.datasets.request("p", "d", {"prompt": "Say {{ text }}"}, launch=True)
    take_snapshot(deployment, two_versions, "d")
    pack_dataset(deployment, two_versions, "d")
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert (row.version, row.launch_id) == (2, None), (
        "the same input and settings: nothing is processed again"
    )
    assert objects(deployment) > before, "but it is packed again, to see that"
    move_clock(deployment, 40 * DAY_S)
    assert found(deployment, delete=True)[2].extent == "exchange"
    assert objects(deployment) == before


def test_rejected_rows_that_were_pruned_are_named_as_such(deployment: Deployment, tmp_path: Path) -> None:
    """A cancelled version that is still the current one."""
    one = pipeline(tmp_path, [], below_minimum="hold")
    rows = [{"id": "a", "text": "t", "n": 1}, {"id": "b", "text": None, "n": 2}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    take_snapshot(deployment, one, "d")
    assert "null" in run("show", "p", "d", "--rejected").output
    deployment.ledger.interventions.cancel("p", "d")
    move_clock(deployment, 40 * DAY_S)
    assert found(deployment, delete=True)[1].extent == "everything"
    done = CliRunner().invoke(cli, ["show", "p", "d", "--rejected"])
    assert done.exit_code == 1
    at = deployment.ledger.retention.pruned_at("p", "d", 1)
    assert at
    assert f"`bedrock-pipeline prune` on {at:%Y-%m-%d %H:%M} UTC" in " ".join(done.output.split())
    assert "bedrock-pipeline launch p d --new-version" in done.output


def test_the_day_of_a_queue_that_nobody_publishes_is_pruned_and_its_results_stay(
    deployment: Deployment, tmp_path: Path
) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        queue.enqueue_many(task(number, f"text {number}") for number in range(100))
        [job] = queue.flush()
        [final] = queue.await_jobs([job], timeout=PATIENCE_S)
        job_id = str(final.job_id)
    assert found(deployment, delete=False) == {}
    move_clock(deployment, 40 * DAY_S)
    [day] = found(deployment, delete=True).values()
    assert (day.extent, day.why) == ("exchange", "its jobs' results are read from it")
    assert day.objects > 1
    [again] = found(deployment, delete=False).values()
    assert again.extent is None
    out = str(tmp_path / "job.jsonl")
    assert "100 rows" in run("results", job_id, "--out", out).output

    [chunk] = deployment.ledger.chunks.of_dataset(day.pipeline, day.dataset, day.version)
    deployment.objects.delete(one.uri for one in list(deployment.objects.list(chunk.parsed_uri or "")))
    done = CliRunner().invoke(cli, ["results", job_id, "--out", out])
    assert done.exit_code == 1
    assert "lifecycle rules of the bucket" in " ".join(done.output.split()), "prune has deleted none of them"


@pytest.mark.parametrize("age", ["7d", "0", "soon", "30h"])
def test_a_time_that_is_too_short_is_wrong_usage(deployment: Deployment, age: str) -> None:
    done = CliRunner().invoke(cli, ["prune", "--older-than", age])
    assert done.exit_code == 2
    assert "a number of days from 8 on" in " ".join(done.output.split())
