"""Whether this process was forked.

What belongs here: one fact. Polars' threads do not live on in a forked process, which would wait for them for ever; so
what Polars does is done row by row there, with the same result.
"""

import os
import threading

_FORKED = threading.Event()
os.register_at_fork(after_in_child=_FORKED.set)


def is_forked() -> bool:
    """Whether it was, at any time since this module was imported."""
    return _FORKED.is_set()
