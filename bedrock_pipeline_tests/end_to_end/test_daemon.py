"""The real daemon and webserver: two pipelines of one code location, running at once."""

import json
from pathlib import Path

import pyarrow.dataset as pa_dataset
import pytest

from bedrock_pipeline.cli.services import running
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.local import file_uri
from bedrock_pipeline_tests.end_to_end.webserver import is_open, partitions
from bedrock_pipeline_tests.waiting import until

PIPELINES = ("stdlib_docstrings", "own_files")


def published(deployment: Deployment, pipeline: str) -> str | None:
    row = deployment.ledger.datasets.get(pipeline, "d")
    return row.results_uri if row else None


@pytest.mark.end_to_end
@pytest.mark.timeout(2000)  # two waits
def test_two_pipelines_run_at_once_and_dagster_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(1100)))
    request = {"source": str(path), "prompt": "{{ text }}", "record_id": "id", "carry": []}
    with (
        running(
            tmp_path / "home", module="bedrock_pipeline.definitions", speed=1000, poll_seconds=1
        ) as services,
        open_deployment(services.settings) as deployment,
    ):
        assert is_open(services.url)
        assert not is_open(services.url.rpartition("/")[0]), "its path cannot be guessed"
        assert not is_open(f"{services.url}/graphql?query=mutation%7Bx%7D"), "a link changes nothing"
        for pipeline in PIPELINES:
            deployment.ledger.datasets.request(pipeline, "d", request, launch=True)
        until(lambda: all(published(deployment, pipeline) for pipeline in PIPELINES), "both are published")
        for pipeline in PIPELINES:
            uri = published(deployment, pipeline)
            assert uri is not None
            table = pa_dataset.dataset(file_uri(services.endpoints, uri), format="parquet").to_table()
            assert sorted(table["record_id"].to_pylist()) == sorted(f"r{n}" for n in range(1100))
            assert table["chunk_key"].unique().sort().to_pylist() == ["d--00000", "d--00001"]
            for asset, keys in {
                "input_dataset": ["d"],
                "batch_chunks": ["d"],
                "submitted_jobs": ["d--00000", "d--00001"],
                "parsed_results": ["d--00000", "d--00001"],
            }.items():
                found = partitions(services.url, pipeline, asset)
                assert sorted(found["materializedPartitions"]) == keys, (pipeline, asset)
                assert found["failedPartitions"] == []
        until(  # the ledger publishes a moment before its run ends
            lambda: all(
                partitions(services.url, pipeline, "results")["materializedPartitions"]
                for pipeline in PIPELINES
            ),
            "Dagster knows of the publication",
        )
