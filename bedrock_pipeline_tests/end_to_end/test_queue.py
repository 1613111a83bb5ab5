"""A queue under the real daemon, and a program that works at the same queue."""

from pathlib import Path

import pyarrow.dataset as pa_dataset
import pytest

from bedrock_pipeline.cli.services import running
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.local import file_uri
from bedrock_pipeline.queue import BedrockQueue, BedrockTask
from bedrock_pipeline_tests.end_to_end.queued import QUEUE
from bedrock_pipeline_tests.end_to_end.webserver import partitions
from bedrock_pipeline_tests.waiting import PATIENCE_S, until


def tasks(beginning: str, count: int) -> list[BedrockTask]:
    model_request = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64}
    return [
        BedrockTask(
            f"{beginning}{n}", {**model_request, "messages": [{"role": "user", "content": f"secret {n}"}]}
        )
        for n in range(count)
    ]


@pytest.mark.end_to_end
@pytest.mark.timeout(3000)  # three waits
def test_daemon_and_program_share_a_queue_and_dagster_knows_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "bedrock_pipeline_tests.end_to_end.queued"
    name = QUEUE.pipeline().name
    monkeypatch.setenv("BEDROCK_PIPELINE_HOME", str(tmp_path / "home"))  # where the program finds it
    with (
        running(tmp_path / "home", module=module, speed=1000, poll_seconds=1) as services,
        open_deployment(services.settings) as deployment,
        BedrockQueue(QUEUE) as queue,
    ):
        queue.enqueue_many(tasks("mine", 150))
        (mine,) = queue.flush()
        queue.enqueue_many(tasks("theirs", 130))
        until(lambda: queue.get_queue_size() == 0, "the daemon flushes")
        assert queue.await_job(mine, timeout=PATIENCE_S).final

        def days() -> list[DatasetRow]:
            """One, or two around midnight."""
            return deployment.ledger.datasets.recent([name])

        until(lambda: sum(row.published_records or 0 for row in days()) == 280, "both jobs published")
        uris = [row.results_uri for row in days() if row.results_uri]
        answered = [
            record_id
            for uri in uris
            for record_id in pa_dataset.dataset(file_uri(services.endpoints, uri), format="parquet")
            .to_table(columns=["record_id"])["record_id"]
            .to_pylist()
        ]
        wanted = [task.record_id for task in [*tasks("mine", 150), *tasks("theirs", 130)]]
        assert sorted(answered) == sorted(wanted)
        assert len(Control(services.endpoints.bedrock_endpoint_url, services.endpoints.keys).jobs()) == 2

        datasets = sorted(row.dataset for row in days())
        keys = sorted(
            chunk.chunk_key
            for row in days()
            for chunk in deployment.ledger.chunks.of_dataset(name, row.dataset, row.version)
        )
        assert len(keys) == 2
        for asset, expected in {
            "submitted_jobs": keys,
            "parsed_results": keys,
            "results": datasets,
        }.items():
            until(
                lambda asset=asset, expected=expected: (  # type: ignore[misc]
                    sorted(partitions(services.url, name, asset)["materializedPartitions"]) == expected
                ),
                f"Dagster knows {asset}",
            )
            assert partitions(services.url, name, asset)["failedPartitions"] == []
        # The daemon's flush; the day of the program's flush is found with its job.
        assert set(partitions(services.url, name, "batch_chunks")["materializedPartitions"]) <= set(datasets)
        assert partitions(services.url, name, "batch_chunks")["materializedPartitions"]
