"""Names in Dagster that follow from a pipeline's: assets, partitions, jobs, resources."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import dagster as dg

from bedrock_pipeline.due_work import OF_CHUNKS, WorkItem
from bedrock_pipeline.orchestration.asset_attributes import AssetAttributes, asset_attributes
from bedrock_pipeline.orchestration.options import options_of, translated
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.records.keys import dataset_of, partition_of

#: Key of the resource that holds a deployment's connections.
DEPLOYMENT = "bedrock_deployment"
#: Key of the IO manager that loads published results for downstream assets.
RESULTS_IO_MANAGER = "bedrock_results"
_OF_CHUNKS: Final = ("submitted_jobs", "parsed_results")


@dataclass(frozen=True)
class Names:
    """Assets, partitions and jobs of one pipeline.

    Attributes:
        pipeline: its name.
        definition: the pipeline, whose options may give other keys and partitions; None: it has no such options.
    """

    pipeline: str
    definition: BasePipeline | None = None

    @classmethod
    def of(cls, pipeline: BasePipeline) -> Self:
        """The names of a pipeline with its options."""
        return cls(pipeline.name, pipeline)

    def asset(self, name: str) -> dg.AssetKey:
        """`<pipeline>/<name>`, unless the pipeline's translation gives another key."""
        key = dg.AssetKey([self.pipeline, name])
        if self.definition is None or options_of(self.definition).translate is None:
            return key
        return translated(self.definition, name, dg.AssetSpec(key, **self.attributes(name))).key

    def attributes(self, step: str) -> AssetAttributes:
        """What the asset of a step is without its key and edges, before the translation; for names with a definition."""
        assert self.definition
        return asset_attributes(self.definition, step, self.chunks if step in _OF_CHUNKS else self.datasets)

    @property
    def datasets(self) -> dg.PartitionsDefinition:
        """The partitions by dataset."""
        return self.own_partitions or dg.DynamicPartitionsDefinition(name=f"{self.pipeline}_datasets")

    @property
    def own_partitions(self) -> dg.PartitionsDefinition | None:
        """The partitions by dataset that the pipeline's options give; None: dynamic ones."""
        return options_of(self.definition).partitions_def if self.definition else None

    def dataset(self, partition_key: str) -> str:
        """The key of the dataset of a partition."""
        return dataset_of(partition_key) if self.own_partitions else partition_key

    def partition(self, dataset: str) -> str:
        """The key of the partition of a dataset; the dataset's own where it has none."""
        return (partition_of(dataset) or dataset) if self.own_partitions else dataset

    def has_partition(self, dataset: str) -> bool:
        """Whether a dataset has a partition; one that was launched under a key of another kind has none."""
        own = self.own_partitions
        return own is None or ((key := partition_of(dataset)) is not None and own.has_partition_key(key))

    @property
    def chunks(self) -> dg.DynamicPartitionsDefinition:
        """The partitions by chunk."""
        return dg.DynamicPartitionsDefinition(name=f"{self.pipeline}_chunks")

    def job(self, kind: str) -> str:
        """The job of a step: prepare, flush, submit, collect, retry or publish."""
        return f"{self.pipeline}_{kind}"

    def partition_of(self, item: WorkItem) -> str:
        """The key of the partition of an item of work."""
        return item.key if item.kind in OF_CHUNKS else self.partition(item.key)

    def register(
        self, instance: dg.DagsterInstance, *, datasets: Iterable[str] = (), chunks: Iterable[str] = ()
    ) -> None:
        """Add partitions for these keys, so that runs can be requested for them; known keys change nothing."""
        for partitions, keys in ((self.datasets, list(datasets)), (self.chunks, list(chunks))):
            if keys and isinstance(partitions, dg.DynamicPartitionsDefinition) and partitions.name:
                instance.add_dynamic_partitions(partitions.name, keys)


def names_of(pipelines: Sequence[BasePipeline]) -> dict[str, Names]:
    """The names of each pipeline with its options, by the pipeline's name."""
    return {pipeline.name: Names.of(pipeline) for pipeline in pipelines}
