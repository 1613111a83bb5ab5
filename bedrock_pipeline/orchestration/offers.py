"""A run that keeps its offer alive while it works.

What belongs here: the heartbeat. What an offer is stands in `ledger.offers`.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.offers import Kind

_LOG = logging.getLogger(__name__)
#: How long a run may wait in Dagster's queue before it is asked for again.
WAITING = timedelta(minutes=5)
_ALIVE = timedelta(seconds=60)
_BEAT_SECONDS = 15.0


@contextmanager
def kept_offer(deployment: Deployment, kind: Kind, pipeline: str, subject: str) -> Iterator[None]:
    """No other run is asked for while the block runs.

    Afterwards one may be at once, if there is still something to do; after an error only when a minute is over.
    """
    offers = deployment.ledger.offers
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_SECONDS):
            try:
                offers.prolong(kind, pipeline, subject, _ALIVE)
            except Exception:
                # A run too many may be asked for, which finds its work taken; the next beat tries again.
                _LOG.warning("the offer of %s could not be prolonged", subject, exc_info=True)

    offers.prolong(kind, pipeline, subject, _ALIVE)
    thread = threading.Thread(target=beat, name="offer", daemon=True)
    thread.start()
    finished = False
    try:
        yield
        finished = True
    finally:
        done.set()
        thread.join()
        if finished:
            offers.end(kind, pipeline, subject)


def run_key(kind: Kind, pipeline: str, subject: str, number: int) -> str:
    """The run key of an offer: Dagster runs each key once, so the number makes a new offer a new run."""
    return f"{kind}:{pipeline}:{subject}:{number}"


def end_offer(deployment: Deployment, key: str) -> None:
    """The run of this key has died: what it was for may be asked for at once."""
    kind, pipeline, subject, _ = key.split(":")
    deployment.ledger.offers.end(cast("Kind", kind), pipeline, subject)
