"""Which work run is requested: a pure decision, apart from the sensor that carries it out."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

#: How long the newest work run works alone before another one helps it.
_ENOUGH: Final = timedelta(seconds=30)


def next_worker(ages: Mapping[str, timedelta], most: int) -> str | None:
    """The subject of the lease for another work run, while work waits; None if none is requested now.

    One run at a time, as long as it keeps up: half a minute after the last one was requested another one is, up to `most`.
    What a run that was just requested will take waits too, which must not start another one at each tick: starting a run
    costs seconds of a core.

    Args:
        ages: how long ago each valid lease of a work run was acquired, by its subject: `1`, `2`, ….
        most: work runs at the same time.
    """
    if any(age < _ENOUGH for age in ages.values()):
        return None
    return next((subject for subject in workers(most) if subject not in ages), None)


def workers(most: int) -> list[str]:
    """The subjects of the leases of work runs."""
    return [str(number) for number in range(1, most + 1)]
