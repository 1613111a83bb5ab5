"""The limit of a quota group is the deployment's; a pipeline can only use less of it."""

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.journey.driven import CLAUDE, pipeline

_HERE = QuotaGroup(CLAUDE, "us-east-1", "123456789012")


def _packed(
    deployment: Deployment, folder: Path, name: str, max_jobs: int | None, model_id: str = CLAUDE
) -> list[ChunkRow]:
    limits = Limits(min_records=50, max_records=100, max_jobs=max_jobs)
    one = pipeline(folder, [f"t{n}" for n in range(500)], name=name, limits=limits, model_id=model_id)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    return deployment.ledger.chunks.of_dataset(name, "d", 1)


def _submitted(deployment: Deployment, chunks: list[ChunkRow]) -> list[bool]:
    return [
        isinstance(submit_chunk(deployment, chunk.pipeline, chunk.chunk_key), Submitted) for chunk in chunks
    ]


def test_a_pipeline_uses_no_more_slots_than_its_limits_allow_whoever_packs_after_it(
    deployment: Deployment, work: Path
) -> None:
    careful = _packed(deployment, work, "careful", 2)
    other = _packed(deployment, work, "other", None)
    due = deployment.ledger.submissions.due(["careful", "other"], 50)
    assert sorted(chunk.pipeline for chunk in due) == ["careful"] * 2 + ["other"] * 5
    assert _submitted(deployment, careful) == [True, True, False, False, False]
    rejected = submit_chunk(deployment, "careful", careful[2].chunk_key)
    assert isinstance(rejected, NotNow)
    assert "2 jobs of the 2 that its limits allow" in rejected.reason
    assert [chunk.pipeline for chunk in deployment.ledger.submissions.due(["careful", "other"], 50)] == [
        "other"
    ] * 5
    assert all(_submitted(deployment, other))


def test_a_pipeline_cannot_raise_the_limit_of_its_group(deployment: Deployment, work: Path) -> None:
    deployment.ledger.quota_groups.set_max_jobs(_HERE, 2)
    eager = _packed(deployment, work, "eager", 100)
    assert len(deployment.ledger.submissions.due(["eager"], 50)) == 2
    assert _submitted(deployment, eager) == [True, True, False, False, False]


def test_every_id_of_a_model_uses_the_slots_of_one_group(deployment: Deployment, work: Path) -> None:
    deployment.ledger.quota_groups.set_max_jobs(_HERE, 3)
    ids = (CLAUDE, f"us.{CLAUDE}", f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}")
    packed = [_packed(deployment, work, f"p{n}", None, model_id) for n, model_id in enumerate(ids)]
    assert {chunk.quota_group for chunks in packed for chunk in chunks} == {str(_HERE)}
    got = [_submitted(deployment, chunks) for chunks in packed]
    assert sum(map(sum, got)) == 3


@pytest.mark.parametrize("model", [f"eu.{CLAUDE}", CLAUDE])
def test_a_limit_that_an_operator_sets_is_in_force_at_once(
    deployment: Deployment, work: Path, model: str
) -> None:
    chunks = _packed(deployment, work, "p", None)
    shown = CliRunner().invoke(cli, ("quota", model, "--max-jobs", "3", "--json"), catch_exceptions=False)
    [group] = orjson.loads(shown.stdout)
    assert (group["quota_group"], group["max_jobs"], group["used"], group["waiting"]) == (str(_HERE), 3, 0, 5)
    assert _submitted(deployment, chunks[:2]) == [True, True]
    assert CliRunner().invoke(cli, ("quota", model, "--max-jobs", "2")).exit_code == 0
    assert _submitted(deployment, chunks[2:]) == [False, False, False]
    assert deployment.ledger.submissions.due(["p"], 50) == []
    listed = CliRunner().invoke(cli, ("quota",))
    assert listed.exit_code == 0
    assert listed.stdout.splitlines() == [str(_HERE), "  2 of 2 slots in use; 0 by others; 3 waiting"]


def test_a_limit_and_a_region_need_a_model(deployment: Deployment) -> None:
    for arguments in (("quota", "--region", "us-east-1"), ("quota", "--max-jobs", "2")):
        rejected = CliRunner().invoke(cli, arguments)
        assert rejected.exit_code == 2
        assert "need MODEL" in rejected.stderr
    assert deployment.ledger.quota_groups.all() == []
