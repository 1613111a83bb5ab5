"""A Dagster run at work: its lease in the ledger, and how its errors appear in the UI."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, cast, get_args
from uuid import UUID

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import RUN_KEY_TAG

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WorkItem
from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError, is_of_called_code
from bedrock_pipeline.ledger.run_leases import Kind, LeaseKind
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.outages import cause_of
from bedrock_pipeline.work import record_failure, renewed

#: How long a requested run may wait in Dagster's queue before it is requested again.
QUEUED: Final = timedelta(minutes=5)

#: How long a run may be starting on a busy machine, where Dagster does not find out that it died.
STARTING: Final = timedelta(minutes=15)


@contextmanager
def working(
    resource: DeploymentResource,
    kind: LeaseKind,
    pipeline: str,
    key: str,
    goes_on: Callable[[], bool] = lambda: False,
) -> Iterator[Deployment]:
    """The deployment, for the work of one run, whose lease is renewed during the block.

    Afterwards the next run may be requested at once, if there is still something to do; after an error only when the
    lease has expired. If the run `goes_on` with another step of this kind, it keeps the lease until that step begins.

    Raises:
        dagster.Failure: in place of an error of this package; its description is what the UI shows first.
    """
    with resource.open() as deployment:
        try:
            with renewed(deployment, kind, pipeline, key, lambda: QUEUED if goes_on() else None):
                yield deployment
        except BaseException as error:
            if not is_of_called_code(error) and not isinstance(error, SystemExit):
                raise
            if isinstance(error, ServiceUnavailableError) and cause_of(error):
                raise dg.Failure(str(error), allow_retries=True) from error
            if kind in get_args(Kind):  # this run has shown it
                record_failure(deployment, WorkItem(cast("Kind", kind), pipeline, key), error, shared=False)
            if isinstance(error, BedrockPipelineError):
                raise dg.Failure(str(error), allow_retries=False) from error
            raise


def run_key(kind: LeaseKind, pipeline: str, key: str, lease_id: UUID) -> str:
    """The run key of a lease: Dagster runs each key once, so its UUID makes a new lease a new run."""
    return f"{kind}:{pipeline}:{key}:{lease_id}"


def renew_queued_runs(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    kind: LeaseKind,
    subjects: Sequence[tuple[str, str]],
) -> None:
    """Renew expired leases whose runs wait in Dagster's queue or are starting: another request would do their work twice.

    A run that has been starting for `STARTING` is taken for dead: nothing may be left that would end it.
    """
    lapsed = deployment.ledger.run_leases.lapsed(kind, subjects) if subjects else {}
    keys = {run_key(kind, *subject, lease_id): subject for subject, lease_id in lapsed.items()}
    if keys:
        statuses = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING]
        oldest = deployment.system.now() - STARTING
        for record in instance.get_run_records(
            dg.RunsFilter(tags={RUN_KEY_TAG: list(keys)}, statuses=statuses)
        ):
            run = record.dagster_run
            if run.status is dg.DagsterRunStatus.QUEUED or record.update_timestamp > oldest:
                deployment.ledger.run_leases.renew(kind, *keys[run.tags[RUN_KEY_TAG]], QUEUED)


def release_ended_runs(deployment: Deployment, instance: dg.DagsterInstance) -> None:
    """Release the leases of runs that ended while Postgres was away and could not do it themselves."""
    run_leases = deployment.ledger.run_leases
    keys = [run_key(*lease) for lease in run_leases.valid()]
    if keys:
        ended = dg.RunsFilter(tags={RUN_KEY_TAG: keys}, statuses=FINISHED_STATUSES)
        for run in instance.get_runs(ended):
            kind, pipeline, key, _ = run.tags[RUN_KEY_TAG].split(":")
            lease = cast("LeaseKind", kind), pipeline, key
            if run.is_success:
                run_leases.release(*lease)
            else:
                run_leases.renew(*lease, timedelta(0))
