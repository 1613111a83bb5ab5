"""The emulator without a server.

What belongs here: putting the parts together. Time, randomness and the objects in S3 are passed in, and nothing runs
by itself: `server.py` adds sockets and threads, a simulation calls `protocol` and `step` in the order that it wants.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from bedrock_pipeline.emulator.behaviour import Behaviour, Quota
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.faults import Faults
from bedrock_pipeline.emulator.model_listing import ModelListing
from bedrock_pipeline.emulator.models import Model, Models
from bedrock_pipeline.emulator.objects import ObjectStore
from bedrock_pipeline.emulator.protocol import Protocol
from bedrock_pipeline.emulator.roles import Roles
from bedrock_pipeline.emulator.runner import Durations, Runner
from bedrock_pipeline.emulator.runtime import Runtime
from bedrock_pipeline.emulator.service import Service
from bedrock_pipeline.emulator.store import Store
from bedrock_pipeline.emulator.work import JobLimits


@dataclass(frozen=True)
class EmulatorConfig:
    """What an emulator is like.

    Attributes:
        keys: access key id and secret that sign requests; None takes every request.
        max_jobs: jobs at once, per model; None for the model's own.
        models: models that answer instead of the emulated ones, by the beginning of the id.
    """

    region: str = "us-east-1"
    account: str = "123456789012"
    keys: tuple[str, str] | None = None
    max_jobs: int | None = None
    limits: JobLimits = field(default_factory=JobLimits)
    durations: Durations = field(default_factory=Durations)
    behaviour: Behaviour = field(default_factory=Behaviour)
    models: Mapping[str, Model] = field(default_factory=dict)


class Emulator:
    """Bedrock's batch and on-demand inference in one account and region.

    Everything it does follows from the calls, the clock, the objects and `rng`: the same ones give the same responses,
    ids and output, byte for byte.

    Args:
        store: its jobs.
        objects: where jobs read and write.
        clock: the time.
        rng: makes the ids.
        faults: what goes wrong.

    Attributes:
        protocol: takes requests.
        runner: moves jobs along.
        keys: the key pair that requests show; None takes every request.
        quota: jobs at once; may be changed.
        behaviour: the switches; may be changed.
        roles: what jobs may do; may be changed.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        *,
        store: Store,
        objects: ObjectStore,
        clock: Clock,
        rng: random.Random,
        faults: Faults,
    ) -> None:
        self.store, self.clock, self.faults, self.keys = store, clock, faults, config.keys
        self.quota, self.behaviour, self.roles = Quota(config.max_jobs), config.behaviour, Roles()
        models = Models(config.models, config.behaviour)
        self.runner = Runner(
            store,
            clock,
            objects,
            limits=config.limits,
            durations=config.durations,
            behaviour=config.behaviour,
            models=models,
            faults=faults,
            quota=self.quota,
            roles=self.roles,
            region=config.region,
            account=config.account,
        )
        service = Service(
            store,
            clock,
            region=config.region,
            account=config.account,
            quota=self.quota,
            behaviour=config.behaviour,
            models=models,
            faults=faults,
            rng=rng,
        )
        runtime = Runtime(models, config.region)
        listing = ModelListing(models, config.region, config.account)
        self.protocol = Protocol(service, runtime, listing, faults, clock, config.keys, rng)

    def step(self) -> bool:
        """One unit of work of every job that is due, in the order of creation; whether there was one."""
        return self.runner.step()

    def reset(self) -> None:
        """Forget every job and every fault."""
        self.store.clear()
        self.faults.clear()
