"""An operator at Dagster's UI in a real browser: launches, watches, reads, approves, cancels and retries, by clicks alone.

`make screenshots` runs it for the pictures of the documentation.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from bedrock_pipeline.cli.services import running
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline_tests.docs.pages import ROOT
from bedrock_pipeline_tests.end_to_end.browser import browser_path, operator_at
from bedrock_pipeline_tests.end_to_end.webserver import partitions
from bedrock_pipeline_tests.waiting import until

GOOD, BAD, COSTLY, CANCELLED = "2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27"
TEXTS = ("Great phone, the battery lasts for days", "It broke after a week", "Fine for the price, but slow")
#: How slow jobs are: none ends before it is looked at. It takes eleven hours by their clock, which the test moves, at most
#: by one status a step; a job may take a week.
SPEED, STEP_S = 0.02, 10_000
FINAL = {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}
REASON = "Customer doesn't have permissions to invokeModel"


def project(folder: Path) -> Path:
    """The example project, with inputs of a few days; its jobs are small, so that a dataset has several."""
    shop = folder / "dg_project"
    shutil.copytree(ROOT / "examples" / "dg_project", shop)
    pipeline = shop / "src/reviews_project/defs/reviews/defs.yaml"
    pipeline.write_text(f"{pipeline.read_text()}  limits: {{max_records: 400}}\n")
    for dataset, rows in {GOOD: 1000, BAD: 300, COSTLY: 300, CANCELLED: 300}.items():
        lines = [
            {
                "id": f"r{n}",
                "product": f"p{n % 7}",
                "text": f"{TEXTS[n % 3]} ({n})" if dataset != BAD or n % 25 else None,
            }
            for n in range(rows)
        ]
        (shop / f"inputs/{dataset}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return shop


def states(deployment: Deployment, dataset: str) -> list[str]:
    return [chunk.status for chunk in deployment.ledger.status_report.chunks("reviews", dataset)]


def published(deployment: Deployment, dataset: str) -> bool:
    row = deployment.ledger.datasets.get("reviews", dataset)
    return row is not None and row.results_uri is not None


def submitted(url: str, chunks: int) -> None:
    """Wait until Dagster knows this number of jobs: it shows no result of a check that is older than the last of them."""
    until(
        lambda: len(partitions(url, "reviews", "submitted_jobs")["materializedPartitions"]) == chunks,
        f"{chunks} chunks are submitted",
    )


def ended(bedrock: Control) -> None:
    """All jobs end: each status begins when the one before is over, so the clock is moved for each."""

    def final() -> bool:
        bedrock.advance(STEP_S)
        return all(job["status"] in FINAL for job in bedrock.jobs())

    until(final, "all jobs have ended", step=1)


@pytest.mark.end_to_end
@pytest.mark.browser
@pytest.mark.timeout(6000)  # a dozen waits
def test_an_operator_works_from_the_ui_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = browser_path()
    if executable is None:
        pytest.skip("No browser: apt-get install chromium")
    pictures = Path(folder) if (folder := os.environ.get("SCREENSHOTS")) else None
    shop = project(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(shop / "src"))
    monkeypatch.setenv("DAGSTER_GRPC_TIMEOUT_SECONDS", "600")  # a busy machine loses no run
    monkeypatch.chdir(shop)
    module = "reviews_project.definitions"
    with (
        running(tmp_path / "home", module=module, speed=SPEED, poll_seconds=1) as services,
        open_deployment(services.settings) as deployment,
        operator_at(services.url, executable, pictures) as operator,
    ):
        bedrock = Control(services.endpoints.bedrock_endpoint_url, services.endpoints.keys)

        # Launch by the form.
        operator.fill_in("reviews_launch", f"dataset: {GOOD}\nmax_cost_usd: 5\n")
        operator.photographs("launchpad")
        operator.launch()
        operator.sees(None, f"Launched version 1 of {GOOD} of reviews.")
        for dataset, limit in {BAD: "5", COSTLY: "0.0001", CANCELLED: "5"}.items():
            operator.fill_in("reviews_launch", f"dataset: {dataset}\nmax_cost_usd: {limit}\n")
            operator.launch()

        # Watch.
        operator.sees(f"/assets/reviews/batch_chunks?view=partitions&partition={GOOD}", "on_demand_cost_usd")
        operator.photographs("estimate", centre="on_demand_cost_usd")
        submitted(services.url, 5)  # all but the costly dataset
        until(lambda: states(deployment, COSTLY) == ["pending"], "the costly dataset waits")

        # Approve a cap, and cancel.
        checks = "/assets/reviews/submitted_jobs?view=checks"
        operator.sees(checks, "no_chunk_needs_an_operator")
        operator.executes_check()
        operator.sees(checks, f"reviews {COSTLY} may cost $0.0001")
        operator.photographs("cost-limit")
        operator.fill_in("reviews_approve", f"dataset: {COSTLY}\nup_to_usd: 1\napproved_by: Ana\n")
        operator.photographs("approve")
        operator.launch()
        operator.sees(None, f"{COSTLY} of reviews may cost $1")
        operator.fill_in("reviews_cancel", f"dataset: {CANCELLED}\n")
        operator.launch()
        operator.sees(None, "1 chunks are cancelled; 1 jobs are stopped.")
        submitted(services.url, 6)

        # The jobs end, one of them badly.
        [bad] = deployment.ledger.status_report.chunks("reviews", BAD)
        [name] = [job["jobName"] for job in bedrock.jobs() if job["jobArn"] == bad.job]
        bedrock.add_fault("job_ends", job_name=name, times=1, at=0.5, message=REASON)
        ended(bedrock)
        for dataset in (GOOD, COSTLY, CANCELLED):
            until(lambda dataset=dataset: published(deployment, dataset), f"{dataset} is published")  # type: ignore[misc]
        cancelled = deployment.ledger.datasets.get("reviews", CANCELLED)
        assert cancelled
        assert cancelled.cancel_requested_at

        # Open results.
        results = f"/assets/reviews/results?view=partitions&partition={GOOD}"
        operator.sees(results, "Materialized", "succeeded")
        operator.photographs("results")

        # Find what failed, and retry it.
        failed = f"/assets/reviews/parsed_results?view=partitions&partition={BAD}--00000"
        operator.sees(failed, "Failed (1)")
        operator.photographs("failed-chunk")
        operator.sees(checks, "no_chunk_needs_an_operator")
        operator.executes_check()
        operator.sees(checks, f"{BAD}--00000:")
        operator.fill_in("reviews_retry_failed", f"dataset: {BAD}\n")
        operator.launch()
        operator.sees(None, "retryable records will be sent again")
        submitted(services.url, 7)
        ended(bedrock)
        until(lambda: published(deployment, BAD), f"{BAD} is published")

        # See the check that fails on the bad dataset.
        operator.sees("/assets/reviews/results?view=checks", "few_rejected")
        operator.chooses("few_rejected")
        operator.sees(None, f"{BAD}: 12 of 300 (4.00%); at most 1.00%.", "Failed")
        operator.photographs("failed-check")
