"""What happens to a whole deployment: a backup of the ledger is restored, or a service is away for hours.

What belongs here: the order of what the scheduler, the server and an operator do then.
"""

from itertools import repeat
from typing import Final

from bedrock_pipeline_tests.simulation import actors
from bedrock_pipeline_tests.simulation.choices import Choice
from bedrock_pipeline_tests.simulation.evidence import BACKUP, RESTORE
from bedrock_pipeline_tests.simulation.world import World

#: Six hours: a minute in which everybody tries every few seconds, then long moves of the clock.
_MOVES: Final = (*repeat(3.0, 20), *repeat(600.0, 36))
#: Effects of each process between two moves.
_EFFECTS: Final = 6


def happen(world: World, number: int) -> None:
    """What the scenario wants after this number of choices."""
    one = world.scenario
    if number == one.backup:
        back_up(world)
    if number == one.restore:
        restore(world)
    if one.outage and number == one.outage[1]:
        take_away(world, one.outage[0])


def back_up(world: World) -> None:
    """Copy what is committed in the ledger at this moment."""
    world.machine.server.back_up()
    world.history.step += 1
    world.history.add("the operator", BACKUP)


def restore(world: World) -> None:
    """Every process dies, and that copy takes its place, in another database; an operator waits for a sweep."""
    world.scheduler.kill_all()
    world.machine.server.restore()
    world.history.step += 1
    world.history.add("the operator", RESTORE)
    world.service.faults.clear()
    with world.quiet("the operator") as context:
        actors.sweep(context)
    world.begin_faults()


def take_away(world: World, service: str) -> None:
    """No effect reaches this service for six hours."""
    scheduler = world.scheduler
    world.history.add("the world", f"{service} is away")
    scheduler.away.add(service)
    for seconds in _MOVES:
        for name in sorted(scheduler.processes):
            for _ in range(_EFFECTS):
                if name in scheduler.ready():
                    scheduler.do(Choice("go", name))
        scheduler.do(Choice("clock", seconds=seconds))
    scheduler.away.clear()
    world.history.add("the world", f"{service} is back")
