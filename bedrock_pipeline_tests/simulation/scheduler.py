"""Processes as threads that stop before each effect, one of which goes on at a time.

What belongs here: the baton, waits for locks, deaths. A thread that waits for a lock in Postgres is recognized by
`pg_blocking_pids`, never by time; so the same choices give the same history.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bedrock_pipeline_tests.simulation.choices import Choice, Choices
from bedrock_pipeline_tests.simulation.history import History

#: A statement of the simulation takes about a millisecond; only then is asked whether it waits for a lock.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.001, 0.02
#: Seconds after which a thread that neither ends nor waits for a lock is an error of the simulation.
_STUCK_S = 60.0
#: As `idle_in_transaction_session_timeout` of the product's connections.
_IDLE_IN_TRANSACTION_S: Final = 60.0

Fate = Literal["go", "fail", "lose"]
#: Backends that wait, each with the backends that it waits for.
Blocked = Callable[[Sequence[int]], dict[int, set[int]]]


class Killed(BaseException):
    """The process died: nothing that it would have done happens."""


class SimulationError(Exception):
    """The simulation itself does not go on."""


@dataclass(eq=False)
class Process:
    """A simulated process, in a thread of its own.

    Attributes:
        name: unique within a simulation.
        task: what it does, for the history.
        querying: backend that runs its statement now.
        backends: its sessions; each may hold locks.
        in_transaction: those that have an open transaction, by the time of their last statement.
        releases: how often it may have released a lock.
    """

    name: str
    scheduler: "Scheduler"
    state: Literal["running", "stopped", "waiting", "ended"] = "running"
    effect: str = ""
    wakes: float = 0.0
    fate: Fate | Literal["die"] = "go"
    task: str = ""
    thread: int = 0
    querying: int | None = None
    backends: set[int] = field(default_factory=set)
    in_transaction: dict[int, float] = field(default_factory=dict)
    releases: int = 0
    deadlocked: bool = False
    dead: bool = False
    error: BaseException | None = None
    outcomes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    began: int = 0
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def stop(self, effect: str, service: str = "", *, wakes: float = 0.0) -> Fate:
        """Wait until the scheduler lets the effect happen, at a service; how it does.

        Raises:
            Killed: the process dies before it.
        """
        if self.dead:
            raise Killed(effect)
        self.scheduler.stopped(self, effect, wakes)
        self.go.acquire()
        if self.fate == "die":
            self.dead = True
            raise Killed(effect)
        return "fail" if service in self.scheduler.away else self.fate

    def in_its_thread(self) -> bool:
        """Whether the caller is the process's own thread."""
        return threading.get_ident() == self.thread

    def ended(self, effect: str, how: str = "ok", **facts: Any) -> None:
        """The effect has ended; it is entered in the history when every process has stopped again."""
        self.outcomes.append((effect, how, {"task": self.task, **facts}))


class Scheduler:
    """Lets one process go on at a time.

    Args:
        choices: who goes on.
        history: gets a line for each effect.
        blocked: asks Postgres who waits for whom.
        cancel: cancels a backend's statement.
        terminate: ends backends.
        gone: returns when these backends have ended, and their locks are free.
        freeze: suspends a backend (True) or lets it run again.
        move: moves the clock by seconds.
        service: lets the emulator work.

    Attributes:
        made: the choices that were made, to be played again.
        away: services that no effect reaches.
    """

    def __init__(
        self,
        choices: Choices,
        history: History,
        *,
        blocked: Blocked,
        cancel: Callable[[int], None],
        terminate: Callable[[Sequence[int]], None],
        gone: Callable[[Sequence[int]], None],
        freeze: Callable[[int, bool], None],
        move: Callable[[float], None],
        service: Callable[[], object],
    ) -> None:
        self._choices, self._history = choices, history
        self._blocked, self._cancel, self._terminate, self._gone = blocked, cancel, terminate, gone
        self._freeze = freeze
        self._frozen: set[int] = set()
        self._closed: list[int] = []
        self._move, self._service = move, service
        self._changed = threading.Condition()
        self.processes: dict[str, Process] = {}
        self.made: list[Choice] = []
        self.away: set[str] = set()
        self.counts = {"lock waits": 0, "deadlocks": 0, "deaths": 0}

    # --- Called by the threads of processes

    def stopped(self, process: Process, effect: str, wakes: float) -> None:
        """A process has come to its next effect."""
        with self._changed:
            process.effect, process.wakes, process.state = effect, wakes, "stopped"
            self._changed.notify_all()

    def closed(self, backend: int) -> None:
        """A process has closed a session."""
        self._closed.append(backend)

    @property
    def now(self) -> float:
        """Seconds of the simulation's clock."""
        return self._history.at

    # --- Called by the thread of the simulation

    def start(self, name: str, body: Callable[[Process], None], end: Callable[[Process], None]) -> Process:
        """Start a process; `end` gives back what it holds, whatever happened."""
        process = Process(name, self)
        self.processes[name] = process

        def run() -> None:
            process.thread = threading.get_ident()
            try:
                process.stop("starts")
                body(process)
            except Killed:
                pass
            except BaseException as error:
                process.error = error
            finally:
                process.dead = True
                end(process)
                with self._changed:
                    process.state = "ended"
                    self._changed.notify_all()

        threading.Thread(target=run, name=name, daemon=True).start()
        self._settle()
        self._enter(name)
        return process

    def step(self) -> bool:
        """Make one choice; False at the end."""
        choice = self._choices.next(self.ready())
        if choice is None:
            return False
        self.made.append(choice)
        self.do(choice)
        return True

    def drain(self, most: int) -> None:
        """Let every process end, in turn, and move the clock where all sleep.

        Raises:
            SimulationError: they have not ended after that number of steps.
        """
        for number in range(most):
            if all(process.state == "ended" for process in self.processes.values()):
                return
            ready = self.ready()
            asleep = [one.wakes for one in self.processes.values() if one.state == "stopped"]
            if ready:
                self.do(Choice("go", ready[number % len(ready)]))
            elif asleep:
                self.do(Choice("clock", seconds=max(1.0, min(asleep) - self._history.at)))
            else:
                break
        raise SimulationError(f"processes do not end: {self._shown()}")

    def kill_all(self) -> None:
        """End every process, wherever it is."""
        for backend in list(self._frozen):
            self._set_frozen(backend, frozen=False)
        while ready := [name for name, one in self.processes.items() if one.state == "stopped"]:
            self.do(Choice("die", ready[0]))

    def do(self, choice: Choice) -> None:
        """Make this choice, and wait until nothing moves any more."""
        self._history.step += 1
        self._freeze_waiting()
        if choice.kind == "clock":
            self._move(choice.seconds)
            self._end_idle_transactions()
            self._history.add("clock", f"+{choice.seconds:g} s")
        elif choice.kind == "service":
            self._service()
        else:
            self._let_go(self.processes[choice.who], choice)
        self._enter(choice.who)

    def _let_go(self, process: Process, choice: Choice) -> None:
        if choice.kind == "suspend":
            process.wakes = self._history.at + choice.seconds
            self._history.add(process.name, f"is suspended for {choice.seconds:g} s", task=process.task)
            return
        releases = process.releases
        if choice.kind == "die":
            self.counts["deaths"] += 1
            self._history.add(process.name, f"dies before {process.effect}", task=process.task)
        process.fate = "go" if choice.kind not in ("die", "fail", "lose") else choice.kind
        process.began = self._history.step
        with self._changed:
            process.state = "running"
        process.go.release()
        self._settle()
        if self._closed:
            self._gone(self._closed)
            self._closed.clear()
        if process.releases != releases or self._frozen:
            self._look_again()

    def ready(self) -> list[str]:
        """The processes that can go on."""
        return sorted(
            name
            for name, one in self.processes.items()
            if one.state == "stopped" and one.wakes <= self._history.at
        )

    def _settle(self) -> None:
        """Wait until every process has stopped at an effect, has ended, or waits for the lock of one that has stopped."""
        look, since = _FIRST_LOOK_S, time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._running(), timeout=look)
                running = self._running()
            if not running:
                break
            look = min(2 * look, _LONGEST_LOOK_S)
            if all(one.querying for one in running):
                self._look_at_locks()
            if time.monotonic() - since > _STUCK_S:
                raise SimulationError(f"nothing moves: {self._shown()}")

    def _enter(self, first: str) -> None:
        """Enter what has ended in the history: first what the chosen process did, then what it let others do."""
        for process in sorted(self.processes.values(), key=lambda one: (one.name != first, one.name)):
            for effect, how, facts in process.outcomes:
                self._history.add(process.name, effect, how, began=process.began, **facts)
            process.outcomes.clear()

    def _running(self) -> list[Process]:
        return [one for one in self.processes.values() if one.state == "running"]

    def _look_at_locks(self) -> None:
        """Set aside those that wait for a lock that will not be free before another process goes on."""
        moving = [one for one in self.processes.values() if one.state in ("running", "waiting")]
        by_backend = {one.querying: one for one in moving if one.querying}
        waits = self._blocked(list(by_backend))
        held = {b for one in self.processes.values() for b in one.backends} - set(by_backend) | self._frozen
        stuck: set[int] = set()
        grown = True
        while grown:
            new = {one for one, by in waits.items() if by & (held | stuck)} - stuck
            grown, stuck = bool(new), stuck | new
        with self._changed:
            for backend in stuck:
                process = by_backend[backend]
                if process.state == "running" and process.querying == backend:
                    process.state = "waiting"
                    self.counts["lock waits"] += 1
        cycle = sorted(by_backend[one].name for one in waits if one in _reached(one, waits))
        if cycle:
            self._break_deadlock(cycle)

    def _break_deadlock(self, cycle: list[str]) -> None:
        victim = self.processes[self._choices.victim(cycle)]
        backend = victim.querying
        if backend is not None and not victim.deadlocked:
            self.counts["deadlocks"] += 1
            victim.deadlocked = True
            victim.state = "running"
            if backend in self._frozen:
                self._set_frozen(backend, frozen=False)
            self._cancel(backend)

    def _end_idle_transactions(self) -> None:
        """As the server does with `idle_in_transaction_session_timeout`."""
        idle = [
            (process, backend)
            for process in self.processes.values()
            if process.state == "stopped"
            for backend, since in process.in_transaction.items()
            if self._history.at - since > _IDLE_IN_TRANSACTION_S
        ]
        if not idle:
            return
        self._terminate([backend for _, backend in idle])
        for process, backend in idle:
            del process.in_transaction[backend]
            self._history.add(process.name, "its transaction was idle for too long", task=process.task)
        self._look_again()

    def _freeze_waiting(self) -> None:
        """Where several wait, the end of a transaction would let them race: they are let go one after the other."""
        waiting = [one.querying for one in self.processes.values() if one.state == "waiting"]
        if len(waiting) > 1:
            for backend in waiting:
                if backend:
                    self._set_frozen(backend, frozen=True)

    def _set_frozen(self, backend: int, *, frozen: bool) -> None:
        self._freeze(backend, frozen)
        (self._frozen.add if frozen else self._frozen.discard)(backend)

    def _look_again(self) -> None:
        """Locks may be free now: those that wait go on in the order in which they came, as far as they can."""
        waiting = [one for one in self.processes.values() if one.state == "waiting"]
        for process in sorted(waiting, key=lambda one: (one.began, one.name)):
            if process.querying in self._frozen:
                self._set_frozen(process.querying, frozen=False)
            if process.state == "waiting":
                process.state = "running"
            self._settle()

    def _shown(self) -> str:
        return ", ".join(f"{one.name} {one.state} at {one.effect!r}" for one in self.processes.values())


def _reached(backend: int, waits: dict[int, set[int]]) -> set[int]:
    """The backends that one waits for, directly or not."""
    found: set[int] = set()
    new = set(waits.get(backend, ()))
    while new:
        found |= new
        new = {by for one in new for by in waits.get(one, ())} - found
    return found
