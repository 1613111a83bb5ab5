"""`bedrock-pipeline prune`: what goes and what stays of real versions, also where it is killed in between."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.chunk_partitions import delete_chunk_partitions
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.publish.read_results import open_results
from bedrock_pipeline.retention.prune_version import Pruned, prune
from bedrock_pipeline_tests.faults.worker import move_clock, tick
from bedrock_pipeline_tests.journey.driven import finish, pipeline
from bedrock_pipeline_tests.waiting import until

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

        def partitions(delete: bool) -> Any:
            return lambda name, some: delete_chunk_partitions(instance, name, some, delete=delete)

        looked = found(deployment, delete=False, partitions=partitions(delete=False))
        assert sum(one.partitions or 0 for one in looked.values()) == len(keys)
        found(deployment, delete=True, partitions=partitions(delete=True))
        assert instance.get_dynamic_partitions("p_chunks") == ["other--00000"]
        assert instance.get_dynamic_partitions("p_datasets") == ["d"]


@pytest.mark.parametrize("age", ["7d", "0", "soon", "30h"])
def test_a_time_that_is_too_short_is_wrong_usage(deployment: Deployment, age: str) -> None:
    done = CliRunner().invoke(cli, ["prune", "--older-than", age])
    assert done.exit_code == 2
    assert "a number of days from 8 on" in " ".join(done.output.split())
