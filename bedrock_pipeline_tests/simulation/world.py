"""One simulation: AWS, the ledger, the clock, and processes over them.

What belongs here: putting them together, and what every process is given.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.outages import Outages, cause_of
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.system import System, inline
from bedrock_pipeline_tests.simulation.choices import Choices
from bedrock_pipeline_tests.simulation.clients import BUCKET, Slot, settings
from bedrock_pipeline_tests.simulation.history import History
from bedrock_pipeline_tests.simulation.postgres import Server
from bedrock_pipeline_tests.simulation.scenario import Scenario
from bedrock_pipeline_tests.simulation.scheduler import Killed, Process, Scheduler
from bedrock_pipeline_tests.simulation.service import Service

START: Final = datetime(2030, 1, 1, 9, tzinfo=UTC).timestamp()
MIN_RECORDS, MAX_RECORDS = 2, 3
_SLOTS = 8


class Machine:
    """What is made once and used by one simulation after the other: slots and the server.

    Args:
        dsn: of a database with the ledger's tables, for nobody else.
    """

    def __init__(self, dsn: str) -> None:
        self.server = Server(dsn)
        self.settings = settings(dsn)
        self.world: World | None = None
        self.slots = [Slot(self.settings, self._monotonic) for _ in range(_SLOTS)]
        self._patches = (
            patch("botocore.auth.get_current_datetime", self._signing_time),
            patch("bedrock_pipeline.queue.queue.open_deployment", self._deployment_of),
        )
        for one in self._patches:
            one.start()

    def close(self) -> None:
        """End every session."""
        for one in self._patches:
            one.stop()
        for slot in self.slots:
            slot.close()
        self.server.close()

    def _deployment_of(self, _: Settings, *, system: System, **__: Any) -> Deployment:
        """For a queue that a simulated process opens: the process's own."""
        assert self.world is not None  # a simulation runs
        return self.world.deployments[id(system)]

    def _monotonic(self) -> float:
        return self.world.history.at if self.world else 0.0

    def _signing_time(self, remove_tzinfo: bool = True) -> datetime:  # as botocore's
        world = self.world
        now = world.now_of(threading.current_thread().name) if world else datetime.now(UTC)
        return now.replace(tzinfo=None) if remove_tzinfo else now


@dataclass(frozen=True)
class Context:
    """What a process works with.

    Attributes:
        name: the process's.
        rng: decides what it does.
        outages: decides what it reports of a service that is away.
    """

    name: str
    world: "World"
    deployment: Deployment
    rng: random.Random
    process: Process | None
    outages: Outages

    @property
    def code(self) -> int:
        """The version of the code that the process runs."""
        scenario = self.world.scenario
        return random.Random(f"{scenario.seed} {self.name}").randrange(2) if scenario.two_codes else 0

    @contextmanager
    def doing(self, what: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """A task, with its begin and its end in the history; the caller adds facts to the end."""
        task = self.world.next_task(self.name)
        self._set(task)
        self.note(f"begins to {what}")
        end: dict[str, Any] = dict(facts)
        how = "ok"
        try:
            yield end
        except Exception as error:
            if self.process and self.process.dead:  # a library has made an error of the death
                how = "died"
                raise Killed(what) from error
            how = type(error).__name__
            end["error"] = [one.__name__ for one in type(error).__mro__]
            end["message"] = str(error).partition("\n")[0]
            if (cause := cause_of(error)) and self.outages.is_to_be_logged(error):
                end["away"] = cause
        except Killed:
            how = "died"
            raise
        finally:
            self.note(f"ends to {what}", how, **end)
            self._set("")

    def failed(self, what: str, error: Exception) -> None:
        """An error that was not raised, but reported."""
        names = [one.__name__ for one in type(error).__mro__]
        self.note(what, names[0], error=names, message=str(error).partition("\n")[0])

    def note(self, what: str, how: str = "ok", **facts: Any) -> None:
        """A line of the history."""
        if self.process:
            self.process.ended(what, how, **facts)
        else:
            self.world.history.add(self.name, what, how, task=self.world.service.task, **facts)

    def _set(self, task: str) -> None:
        if self.process:
            self.process.task = task
        else:
            self.world.service.task = task


class World:
    """A simulation that runs.

    Args:
        machine: the server and the slots.
        scenario: what there is.
        choices: what happens.
    """

    def __init__(self, machine: Machine, scenario: Scenario, choices: Choices) -> None:
        self.machine, self.scenario = machine, scenario
        self.settings: Settings = machine.settings
        self.history = History(at=START)
        machine.world = self
        machine.server.reset(START)
        self.service = Service(
            str(scenario.seed),
            self.history,
            bucket=BUCKET,
            quota=scenario.quota,
            min_records=MIN_RECORDS,
            job_s=scenario.job_s,
            switches=dict(scenario.switches),
            sleep=self._sleep,
        )
        server = machine.server
        self.scheduler = Scheduler(
            choices,
            self.history,
            blocked=server.blocked,
            cancel=server.cancel,
            terminate=server.terminate,
            gone=server.wait_until_gone,
            freeze=server.freeze,
            move=self.move_clock,
            service=self.service.work,
        )
        self.draining = False
        self.deployments: dict[int, Deployment] = {}
        self.launches: list[dict[str, Any]] = []
        self._tasks: dict[str, int] = {}
        self._skews: dict[str, float] = {}
        self._free = list(machine.slots)
        for slot in machine.slots:
            slot.service = self.service

    def begin_faults(self) -> None:
        """From now on these things go wrong at Bedrock that the scenario wants."""
        self.service.begin_faults(dict(fault) for fault in self.scenario.faults)

    # --- Processes

    def spawn(self, name: str, body: Callable[[Context], None]) -> None:
        """Start a process."""
        slot = self._free.pop(0)

        def run(process: Process) -> None:
            slot.lend(name, process)
            body(self._context(name, slot, process))

        def end(_: Process) -> None:
            slot.give_back()
            self._free.append(slot)

        self.scheduler.start(name, run, end)

    @contextmanager
    def quiet(self, name: str) -> Iterator[Context]:
        """A process that nothing stops, in the thread of the simulation."""
        slot = self._free.pop(0)
        slot.lend(name, None)
        try:
            yield self._context(name, slot, None)
        finally:
            slot.give_back()
            self._free.append(slot)

    def next_task(self, name: str) -> str:
        """The name of what a process begins to do."""
        self._tasks[name] = self._tasks.get(name, 0) + 1
        return f"{name}/{self._tasks[name]}"

    # --- Time

    def move_clock(self, seconds: float) -> None:
        """Move the clock of everything."""
        self.history.at += seconds
        self.machine.server.set_clock(self.history.at)

    def now_of(self, name: str) -> datetime:
        """A process's own idea of the time."""
        return datetime.fromtimestamp(self.history.at + self._skews.get(name, 0.0), UTC)

    def _sleep(self, seconds: float) -> None:
        process = self.scheduler.processes.get(threading.current_thread().name)
        if process and process.in_its_thread():
            process.stop(f"waits {seconds:.3g} s", wakes=self.history.at + seconds)
        elif threading.current_thread() is threading.main_thread():
            self.move_clock(seconds)

    def _context(self, name: str, slot: Slot, process: Process | None) -> Context:
        seed = f"{self.scenario.seed} {name}"
        rng, ids = random.Random(seed), random.Random(f"{seed} ids")
        self._skews[name] = rng.uniform(-1, 1) * self.scenario.skew_s if process else 0.0
        system = System(
            new_id=lambda: UUID(int=ids.getrandbits(128), version=4),
            rng=random.Random(f"{seed} jitter"),
            now=lambda: self.now_of(name),
            monotonic=lambda: self.history.at,
            sleep=self._sleep,
            executor=inline,
            start=lambda _, __: lambda: None,
        )
        ledger = Ledger(self.settings.database_dsn.get_secret_value(), system=system, connect=slot.connect)
        deployment = Deployment(
            settings=self.settings,
            ledger=ledger,
            objects=slot.objects,
            jobs=slot.jobs,
            runtime=slot.runtime,
            system=system,
        )
        self.deployments[id(system)] = deployment
        return Context(name, self, deployment, rng, process, Outages(lambda: self.history.at))
