"""What things are called in Dagster.

What belongs here: names that follow from a pipeline's.
"""

from dataclasses import dataclass

import dagster as dg

#: Key of the resource that holds a deployment's connections.
DEPLOYMENT = "deployment"
#: Key of the IO manager that hands published results to downstream assets.
RESULTS_IO_MANAGER = "published_results"


@dataclass(frozen=True)
class Names:
    """Assets, partitions and jobs of one pipeline."""

    pipeline: str

    def asset(self, name: str) -> dg.AssetKey:
        """`<pipeline>/<name>`."""
        return dg.AssetKey([self.pipeline, name])

    @property
    def datasets(self) -> dg.DynamicPartitionsDefinition:
        """The partitions by dataset."""
        return dg.DynamicPartitionsDefinition(name=f"{self.pipeline}_datasets")

    @property
    def chunks(self) -> dg.DynamicPartitionsDefinition:
        """The partitions by chunk."""
        return dg.DynamicPartitionsDefinition(name=f"{self.pipeline}_chunks")

    def job(self, kind: str) -> str:
        """The job that does one kind of thing: prepare, flush, submit, collect, retry or publish."""
        return f"{self.pipeline}_{kind}"
