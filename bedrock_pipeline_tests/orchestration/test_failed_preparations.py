"""A preparation that fails: whether it ends the launch, and what `status` says of it."""

from typing import Any

import dagster as dg
import pytest

from bedrock_pipeline import Pipeline, build_definitions
from bedrock_pipeline.aws.errors import AwsError, Classification
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline_tests.orchestration.test_upstream import CLAUDE, DAILY, Shelf, definitions


def failed_run(defs: dg.Definitions, instance: dg.DagsterInstance, partition: str) -> None:
    Names("p").register(instance, datasets=[partition])
    job = defs.resolve_job_def("p_prepare")
    assert not job.execute_in_process(
        instance=instance, partition_key=partition, raise_on_error=False
    ).success


def test_what_was_never_materialized_ends_the_launch_with_its_name(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    deployment.ledger.datasets.request("p", "2026-11-26", {}, launch=True)
    failed_run(definitions(Shelf(), DAILY, own=DAILY), instance, "2026-11-26")
    row = deployment.ledger.datasets.get("p", "2026-11-26")
    assert row is not None
    assert row.state == "failed"
    assert "no materialization of partition '2026-11-26' of the asset 'raw/rows'" in str(row.state_reason)


class _AwayError(Exception):
    """Of a library, which may pass by itself."""


#: Of AWS: somebody may renew the credentials, or grant it.
_DENIED = AwsError("Could not list it.", "", Classification(ErrorKind.DENIED, "AccessDenied", "no"))


@pytest.mark.parametrize(
    ("error", "hours", "state"),
    [
        (_AwayError("row 7"), "48", "requested"),
        (_AwayError("row 7"), "1e-9", "failed"),
        (FileNotFoundError("row 7"), "48", "failed"),
        (_DENIED, "48", "requested"),
        (_DENIED, "1e-9", "failed"),
    ],
)
def test_an_error_of_a_source_that_may_pass_is_tried_again_for_a_while_and_named(
    error: Exception,
    hours: str,
    state: str,
    deployment: Deployment,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_GIVE_UP_H", hours)

    def source(_: str) -> Any:
        raise error

    one = Pipeline(name="p", model_id=CLAUDE, source=source, prompt="{{ text }}", record_id="id")
    deployment.ledger.served_pipelines.seen(["p"])
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    failed_run(build_definitions([one]), instance, "d")
    shown = deployment.ledger.status_report.dataset("p", "d")
    assert shown is not None
    assert shown.state == state
    said = str(shown.waiting)
    assert (
        type(error).__name__ if error is not _DENIED or state == "requested" else "Could not list"
    ) in said
    assert "row 7" not in said


def test_a_bucket_that_does_not_exist_ends_the_launch(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    one = Pipeline(
        name="p", model_id=CLAUDE, source="s3://no-such-bucket-here/rows/*.parquet", prompt="{{ text }}"
    )
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    failed_run(build_definitions([one]), instance, "d")
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.state == "failed"
    assert "s3://no-such-bucket-here/rows/" in str(row.state_reason)


def test_an_outage_leaves_the_launch_requested_and_is_nobodys_failure(
    deployment: Deployment, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_GIVE_UP_H", "1e-9")

    def source(_: str) -> Any:
        raise AwsError("Could not list it.")

    one = Pipeline(name="p", model_id=CLAUDE, source=source, prompt="{{ text }}")
    deployment.ledger.served_pipelines.seen(["p"])
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    failed_run(build_definitions([one]), instance, "d")
    shown = deployment.ledger.status_report.dataset("p", "d")
    assert shown is not None
    assert (shown.state, shown.waiting) == ("requested", "Dagster is about to read its input")
