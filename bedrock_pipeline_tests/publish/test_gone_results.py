"""Files that were published, and that somebody or a lifecycle rule has deleted: an error that says so, wherever they are read."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bedrock_pipeline import results
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline_tests.journey.driven import finish, pipeline


def test_published_files_that_are_gone_are_named(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(tmp_path, [f"t{n}" for n in range(100)])
    finish(deployment, one)
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.results_uri is not None
    deployment.objects.delete(item.uri for item in deployment.objects.list(row.results_uri))
    said = "are gone, though they were published"
    with pytest.raises(StateError, match=said):
        publish_dataset(deployment, one, "d")
    with pytest.raises(StateError, match=said):
        results("p", "d")
    for command in (["show", "p", "d"], ["results", "p", "d", "--out", str(tmp_path / "out.parquet")]):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 1, done.output
        assert said in " ".join(done.output.split())
