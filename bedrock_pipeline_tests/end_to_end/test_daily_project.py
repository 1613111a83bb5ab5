"""A project that was there before, with a daily pandas asset upstream and one downstream, through the real daemon."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bedrock_pipeline.cli.services import running
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline_tests.end_to_end import webserver
from bedrock_pipeline_tests.orchestration.test_daily_project import write
from bedrock_pipeline_tests.waiting import Progress

DAYS = [f"2026-11-{day}" for day in (20, 21, 22)]
CHANGED, UNCHANGED = DAYS[1], DAYS[2]
RAW, INPUT, CHUNKS = ("raw", "reviews"), ("reviews", "input_dataset"), ("reviews", "batch_chunks")
#: The project's own executor, IO manager (Dagster's default, which pickles the frame), sensor and partitions stay its own.
PROJECT = '''"""A project with assets of its own."""

from pathlib import Path

import dagster as dg
import pandas as pd
from bedrock_pipeline import DagsterOptions, Pipeline, UpstreamAsset, build_definitions

DAILY = dg.DailyPartitionsDefinition(start_date="2026-11-01", end_date="2026-12-01")
INPUTS = Path(__file__).parent / "inputs"


@dg.asset(key=["raw", "reviews"], partitions_def=DAILY)
def raw_reviews(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.read_json(INPUTS / f"{context.partition_key}.jsonl", lines=True)


@dg.asset(
    ins={"results": dg.AssetIn(["reviews", "results"])},
    partitions_def=DAILY,
    automation_condition=dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window()),
)
def report(results: pd.DataFrame) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"ids": ",".join(sorted(results["record_id"]))})


defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[raw_reviews, report],
        executor=dg.in_process_executor,
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "own_automation", target=[report], default_status=dg.DefaultSensorStatus.RUNNING
            )
        ],
    ),
    build_definitions(
        [
            Pipeline(
                name="reviews",
                model_id="anthropic.claude-3-haiku-20240307-v1:0",
                source=UpstreamAsset(asset="raw/reviews", load_as="pandas.DataFrame"),
                record_id="id",
                prompt="One word: {{ text }}",
                dagster=DagsterOptions(partitions_def=DAILY),
            )
        ],
    ),
)
'''


def row(deployment: Deployment, day: str) -> DatasetRow:
    found = deployment.ledger.datasets.get("reviews", day)
    assert found is not None
    return found


def published(deployment: Deployment, versions: dict[str, int]) -> bool:
    found = {one.dataset: one for one in deployment.ledger.datasets.recent(["reviews"])}
    return all(
        day in found and found[day].published_version == version and found[day].state == "published"
        for day, version in versions.items()
    )


def jobs(deployment: Deployment, day: str) -> int:
    """The jobs of all versions of a day."""
    return sum(
        chunk.job_arn is not None
        for version in range(1, row(deployment, day).version + 1)
        for chunk in deployment.ledger.chunks.of_dataset("reviews", day, version)
    )


@pytest.mark.end_to_end
@pytest.mark.timeout(3600)  # five waits
def test_days_are_backfilled_and_a_day_that_changed_gets_a_new_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    inputs = project / "inputs"
    inputs.mkdir(parents=True)
    (project / "daily_reviews.py").write_text(PROJECT)
    for day in DAYS:
        write(inputs, day, "a")
    monkeypatch.setenv("PYTHONPATH", str(project), prepend=os.pathsep)
    monkeypatch.setenv("DAGSTER_GRPC_TIMEOUT_SECONDS", "600")  # to start a run, on a busy machine
    with (
        running(tmp_path / "home", module="daily_reviews", speed=1000, poll_seconds=1) as services,
        open_deployment(services.settings) as deployment,
    ):
        url = services.url

        def reports() -> dict[str, str]:
            """The newest report of each day."""
            found = webserver.materializations(url, "report")
            return {one["partition"]: one["metadata"]["ids"] for one in reversed(found)}

        def come(met: Callable[[], bool]) -> None:
            """Wait as long as runs start and end."""
            progress = Progress()
            while not met():
                progress.see((webserver.runs(url), deployment.ledger.jobs.counts(["reviews"])))
                time.sleep(0.5)

        backfill = webserver.launch_backfill(url, [RAW, INPUT, CHUNKS], DAYS)
        come(lambda: published(deployment, dict.fromkeys(DAYS, 1)))
        come(lambda: webserver.backfill_status(url, backfill) == "COMPLETED_SUCCESS")
        come(lambda: reports().keys() == set(DAYS))
        snapshots = [one["partition"] for one in webserver.materializations(url, *INPUT)]
        assert sorted(snapshots) == DAYS, "each day is prepared once"
        results = webserver.materializations(url, "reviews", "results")
        assert sorted(one["partition"] for one in results) == DAYS
        assert {day: jobs(deployment, day) for day in DAYS} == dict.fromkeys(DAYS, 1)

        write(inputs, CHANGED, "b")
        webserver.launch_backfill(url, [RAW], [CHANGED, UNCHANGED])
        come(lambda: published(deployment, {CHANGED: 2}))
        come(lambda: len(webserver.materializations(url, *INPUT)) == len(DAYS) + 2)  # both are compared
        come(lambda: reports()[CHANGED].startswith(f"{CHANGED}-b"))
        come(lambda: not deployment.ledger.datasets.to_launch(["reviews"], 9))
        assert published(deployment, {**dict.fromkeys(DAYS, 1), CHANGED: 2})
        assert {day: jobs(deployment, day) for day in DAYS} == {**dict.fromkeys(DAYS, 1), CHANGED: 2}
        assert row(deployment, UNCHANGED).publication == 1
        assert "FAILURE" not in webserver.runs(url)
