"""A run that renews its lease while it works.

What belongs here: the heartbeat. What a run lease is stands in `ledger.run_leases`.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.run_leases import Kind

_LOG = logging.getLogger(__name__)
#: How long a run may wait in Dagster's queue before it is asked for again.
WAITING = timedelta(minutes=5)
_ALIVE = timedelta(seconds=60)
_BEAT_SECONDS = 15.0


@contextmanager
def run_lease(deployment: Deployment, kind: Kind, pipeline: str, subject: str) -> Iterator[None]:
    """No other run is asked for while the block runs.

    Afterwards one may be at once, if there is still something to do; after an error only when a minute is over.
    """
    run_leases = deployment.ledger.run_leases
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_SECONDS):
            try:
                run_leases.renew(kind, pipeline, subject, _ALIVE)
            except Exception:
                # A run too many may be asked for, which finds its work taken; the next beat tries again.
                _LOG.warning("the lease of %s could not be renewed", subject, exc_info=True)

    run_leases.renew(kind, pipeline, subject, _ALIVE)
    join = deployment.system.start("lease", beat)
    finished = False
    try:
        yield
        finished = True
    finally:
        done.set()
        join()
        if finished:
            run_leases.release(kind, pipeline, subject)


def run_key(kind: Kind, pipeline: str, subject: str, number: int) -> str:
    """The run key of a lease: Dagster runs each key once, so the number makes a new lease a new run."""
    return f"{kind}:{pipeline}:{subject}:{number}"


def release_run_lease(deployment: Deployment, key: str) -> None:
    """The run of this key has died: what it was for may be asked for at once."""
    kind, pipeline, subject, _ = key.split(":")
    deployment.ledger.run_leases.release(cast("Kind", kind), pipeline, subject)
