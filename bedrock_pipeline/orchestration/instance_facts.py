"""What Dagster's instance says about itself, for `bedrock-pipeline doctor`.

What belongs here: reading it. What it means is decided in `doctor/dagster.py`.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from typing import Final

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._daemon.controller import (
    DEFAULT_DAEMON_HEARTBEAT_TOLERANCE_SECONDS,
    DEFAULT_HEARTBEAT_INTERVAL_SECONDS,
)

from bedrock_pipeline.doctor.dagster import DagsterFacts

_PACKAGES: Final = ("dagster", "dagster-webserver", "dagster-graphql", "dagster-aws", "dagster-postgres")


def has_instance(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process has a Dagster of its own."""
    return bool(environment.get("DAGSTER_HOME"))


def read_instance(now: float) -> DagsterFacts:
    """Read the instance of DAGSTER_HOME.

    Args:
        now: seconds since 1970.

    Raises:
        dagster.DagsterError: its configuration or its storage cannot be used.
    """
    with dg.DagsterInstance.get() as instance:
        return facts_of(instance, now)


def facts_of(instance: dg.DagsterInstance, now: float) -> DagsterFacts:
    """What an instance says about itself at a time, in seconds since 1970."""
    heartbeats = instance.get_daemon_heartbeats()
    ages = {name: now - heartbeat.timestamp for name, heartbeat in heartbeats.items()}
    sensors = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    coordinator = instance.run_coordinator
    queue = instance.get_concurrency_config().run_queue_config
    return DagsterFacts(
        versions=_versions(),
        storage=type(instance.run_storage).__name__,
        daemons={name: ages.get(name) for name in instance.get_required_daemon_types()},
        errors=frozenset(name for name, heartbeat in heartbeats.items() if heartbeat.errors),
        tolerance_s=DEFAULT_HEARTBEAT_INTERVAL_SECONDS + DEFAULT_DAEMON_HEARTBEAT_TOLERANCE_SECONDS,
        stopped_sensors=frozenset(
            state.instigator_name for state in sensors if state.status is InstigatorStatus.STOPPED
        ),
        queued=isinstance(coordinator, QueuedRunCoordinator),
        max_runs=queue.max_concurrent_runs if queue else None,
        monitored=instance.run_monitoring_enabled,
    )


def _versions() -> dict[str, str]:
    """The installed packages of Dagster; a code location may do without its webserver."""
    found = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
