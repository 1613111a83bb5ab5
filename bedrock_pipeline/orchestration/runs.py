"""A Dagster run at work: its lease in the ledger, and how its errors appear in the UI."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, cast
from uuid import UUID

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import RUN_KEY_TAG

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError
from bedrock_pipeline.ledger.run_leases import LeaseKind
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.outages import OUTAGES

_LOG = logging.getLogger(__name__)
#: How long a requested run may wait in Dagster's queue before it is requested again.
QUEUED: Final = timedelta(minutes=5)
#: How long a lease lasts after its run last renewed it.
_ALIVE: Final = timedelta(seconds=60)
_RENEW_SECONDS: Final = 15.0


@contextmanager
def working(resource: DeploymentResource, kind: LeaseKind, pipeline: str, key: str) -> Iterator[Deployment]:
    """The deployment, for the work of one run, whose lease is renewed during the block.

    Afterwards the next run may be requested at once, if there is still something to do; after an error only when the
    lease has expired.

    Raises:
        dagster.Failure: in place of an error of this package; its description is what the UI shows first.
    """
    with resource.open() as deployment:
        try:
            with _lease(deployment, kind, pipeline, key):
                yield deployment
        except BedrockPipelineError as error:
            raise dg.Failure(str(error), allow_retries=isinstance(error, ServiceUnavailableError)) from error


def run_key(kind: LeaseKind, pipeline: str, key: str, lease_id: UUID) -> str:
    """The run key of a lease: Dagster runs each key once, so its UUID makes a new lease a new run."""
    return f"{kind}:{pipeline}:{key}:{lease_id}"


def release_run_lease(deployment: Deployment, run_key: str) -> None:
    """Release the lease of a run that died, so that its work may be requested at once."""
    kind, pipeline, key, _ = run_key.split(":")
    deployment.ledger.run_leases.release(cast("LeaseKind", kind), pipeline, key)


def release_ended_runs(deployment: Deployment, instance: dg.DagsterInstance) -> None:
    """Release the leases of runs that ended while Postgres was away and could not do it themselves."""
    keys = [run_key(*lease) for lease in deployment.ledger.run_leases.valid()]
    if keys:
        ended = dg.RunsFilter(tags={RUN_KEY_TAG: keys}, statuses=FINISHED_STATUSES)
        for run in instance.get_runs(ended):
            release_run_lease(deployment, run.tags[RUN_KEY_TAG])


@contextmanager
def _lease(deployment: Deployment, kind: LeaseKind, pipeline: str, key: str) -> Iterator[None]:
    run_leases, done = deployment.ledger.run_leases, threading.Event()

    def renew() -> None:
        while not done.wait(_RENEW_SECONDS):
            try:
                run_leases.renew(kind, pipeline, key, _ALIVE)
            except Exception as error:
                # At worst a second run is requested, which finds its work taken; the next renewal tries again.
                if OUTAGES.is_to_be_logged(error):
                    _LOG.warning("The run lease of %s could not be renewed: %s", key, error)

    run_leases.renew(kind, pipeline, key, _ALIVE)
    join = deployment.system.start("run lease", renew)
    try:
        yield
    finally:
        done.set()
        join()
    run_leases.release(kind, pipeline, key)
