"""Names in Dagster that follow from a pipeline's: assets, partitions, jobs, resources."""

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

#: Key of the resource that holds a deployment's connections.
DEPLOYMENT = "bedrock_deployment"
#: Key of the IO manager that loads published results for downstream assets.
RESULTS_IO_MANAGER = "bedrock_results"


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
        """The job of a step: prepare, flush, submit, collect, retry or publish."""
        return f"{self.pipeline}_{kind}"

    def register(
        self, instance: dg.DagsterInstance, *, datasets: Iterable[str] = (), chunks: Iterable[str] = ()
    ) -> None:
        """Add partitions for these keys, so that runs can be requested for them; known keys change nothing."""
        for partitions, keys in ((self.datasets.name, list(datasets)), (self.chunks.name, list(chunks))):
            assert partitions is not None  # it is dynamic
            if keys:
                instance.add_dynamic_partitions(partitions, keys)
