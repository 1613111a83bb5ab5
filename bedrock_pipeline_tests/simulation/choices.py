"""What the seed decides: who goes on, and what happens to them.

What belongs here: a choice, the sources of choices (a seed, or a list that is played again), and how likely each is.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

#: What may be chosen: an effect is done; the process dies before it; it fails without being done; it is done and its
#: answer is lost; the process is suspended; the clock moves; the service works.
Kind = Literal["go", "die", "fail", "lose", "suspend", "clock", "service"]

#: Seconds by which the clock moves, or a process is suspended.
_MOVES: Final = (0.2, 0.2, *(1.0,) * 4, *(5.0,) * 4, *(20.0,) * 4, 70.0, 300.0, 1500.0)
_SUSPENSIONS: Final = (30.0, 130.0, 400.0, 1600.0)


@dataclass(frozen=True)
class Choice:
    """One step.

    Attributes:
        who: the process; empty for the clock and the service.
        seconds: how far the clock moves, or how long the process is suspended.
    """

    kind: Kind
    who: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Chances:
    """How likely each kind of step is; the rest of the time a process goes on."""

    clock: float = 0.08
    service: float = 0.12
    die: float = 0.02
    fail: float = 0.01
    lose: float = 0.02
    suspend: float = 0.01

    def without(self, name: str) -> "Chances":
        """The same without one of them."""
        return Chances(**{**self.__dict__, name: 0.0})


class Choices(Protocol):
    """Where choices come from."""

    def next(self, ready: Sequence[str]) -> Choice | None:
        """The next step, given the processes that can go on; None at the end."""

    def victim(self, among: Sequence[str]) -> str:
        """The process whose statement Postgres cancels in a deadlock."""


class Seeded:
    """Choices that follow from a seed.

    Args:
        seed: decides everything.
        steps: number of choices.
        chances: of each kind.
    """

    def __init__(self, seed: str, steps: int, chances: Chances) -> None:
        self._rng = random.Random(seed)
        self._steps = steps
        self._chances = chances

    def next(self, ready: Sequence[str]) -> Choice | None:
        """The next step."""
        if self._steps == 0:
            return None
        self._steps -= 1
        rng, chances = self._rng, self._chances
        drawn = rng.random()
        if not ready or drawn < chances.clock:
            return Choice("clock", seconds=rng.choice(_MOVES))
        if drawn < chances.clock + chances.service:
            return Choice("service")
        who = ready[rng.randrange(len(ready))]
        drawn = rng.random()
        kinds: tuple[Kind, ...] = ("die", "fail", "lose", "suspend")
        for kind in kinds:
            drawn -= getattr(chances, kind)
            if drawn < 0:
                return Choice(kind, who, rng.choice(_SUSPENSIONS) if kind == "suspend" else 0.0)
        return Choice("go", who)

    def victim(self, among: Sequence[str]) -> str:
        """Any of them."""
        return among[self._rng.randrange(len(among))]


class Replayed:
    """Choices from a list; one that cannot be made any more is passed over."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._choices = iter(choices)

    def next(self, ready: Sequence[str]) -> Choice | None:
        """The next of the list that is possible."""
        for choice in self._choices:
            if not choice.who or choice.who in ready:
                return choice
        return None

    def victim(self, among: Sequence[str]) -> str:
        """The first of them."""
        return among[0]
