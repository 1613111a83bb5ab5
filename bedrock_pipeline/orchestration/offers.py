"""A run that keeps its offer alive while it works.

What belongs here: the heartbeat. What an offer is stands in `ledger.offers`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from bedrock_pipeline.ledger.offers import Kind
from bedrock_pipeline.stages.context import Context

#: How long a run may wait in Dagster's queue before it is asked for again.
WAITING = timedelta(minutes=5)
_ALIVE = timedelta(seconds=60)
_BEAT_SECONDS = 15.0


@contextmanager
def kept_offer(context: Context, kind: Kind, pipeline: str, subject: str) -> Iterator[None]:
    """No other run is asked for while the block runs; afterwards one may be, if there is still something to do."""
    offers = context.ledger.offers
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_SECONDS):
            offers.prolong(kind, pipeline, subject, _ALIVE)

    offers.prolong(kind, pipeline, subject, _ALIVE)
    thread = threading.Thread(target=beat, name="offer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        offers.end(kind, pipeline, subject)
