"""An asset of Dagster as the input of a pipeline: its edge in the graph, and its value as a source."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.options import STEPS
from bedrock_pipeline.orchestration.upstream_partitions import upstream_keys
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.sources import ArrowSource, InputError, Source, UpstreamAsset, open_location
from bedrock_pipeline.sources.arrow_objects import conversion, dataset_batches, frame_of
from bedrock_pipeline.sources.source import BATCH_ROWS
from bedrock_pipeline.sources.widening import NoCommonTypeError, common_schema, widened


def upstream_deps(pipeline: Pipeline) -> list[dg.AssetDep]:
    """The edge from the upstream asset to `input_dataset`.

    With dynamic datasets it only shows lineage: their partitions have no mapping from those of other kinds, and each run of an
    asset without partitions would make all datasets stale.

    Raises:
        ConfigurationError: the asset is one of the pipeline's own.
    """
    if not isinstance(pipeline.source, UpstreamAsset):
        return []
    key, names = asset_key(pipeline.source), Names.of(pipeline)
    if key in map(names.asset, STEPS):
        raise ConfigurationError(
            f"source: the asset {pipeline.source.asset!r} is made by pipeline {pipeline.name!r} itself.",
            "Name the asset of another pipeline, or one of your own.",
        )
    if names.own_partitions:
        return [dg.AssetDep(key)]
    return [dg.AssetDep(key, partition_mapping=dg.SpecificPartitionsPartitionMapping([]))]


def asset_key(source: UpstreamAsset) -> dg.AssetKey:
    """The key of the asset."""
    return dg.AssetKey.from_user_string(source.asset)


class LoadedAsset:
    """Opens the upstream asset of a dataset, in a run."""

    def __init__(self, context: dg.AssetExecutionContext, pipeline: Pipeline, folder: Path) -> None:
        self._context, self._pipeline, self._folder = context, pipeline, folder

    def __call__(self, deployment: Deployment, pipeline: Pipeline, dataset: str) -> Source:
        """The source.

        Args:
            deployment: reads locations that the asset's value names.
            pipeline: with the settings of the dataset.
            dataset: its key.

        Raises:
            InputError: the value is of no type that can be an input.
        """
        source = self._pipeline.source
        assert isinstance(source, UpstreamAsset)
        key, wanted = asset_key(source), _type_of(source.load_as)
        partitions = self._context.job_def.asset_layer.get(key).partitions_def
        found = upstream_keys(Names.of(self._pipeline), partitions, dataset)
        if found and isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            # An operator may launch a week before its end.
            found = [one for one in found if partitions.has_partition_key(one)]
        if found == []:
            raise InputError(
                f"No partition of the asset {source.asset!r} lies in the partition of dataset {dataset!r}.",
                "Give the pipeline the partitions of the asset, or longer ones.",
            )
        values = [self._value(key, wanted, one) for one in ([None] if found is None else found)]
        if all(isinstance(value, str | PathLike) for value in values):
            return open_location(
                [fspath(value) for value in values],
                deployment.objects,
                pipeline.column_types,
                csv=pipeline.csv,
                missing_columns=pipeline.missing_columns,
            )
        if len(values) == 1 and (frame := frame_of(values[0])) is not None:
            return frame
        with conversion(f"The asset {source.asset!r}"):
            sources = [one for value in values for one in _sources(value, source.asset, self._folder)]
        return sources[0] if len(sources) == 1 else _chained(sources, found, source.asset)

    def _value(self, key: dg.AssetKey, wanted: Any, partition: str | None) -> Any:
        try:
            return self._context.load_asset_value(key, python_type=wanted, partition_key=partition)
        except Exception as error:  # whatever the project's IO manager raises where there is nothing
            of = "" if partition is None else f"partition {partition!r} of "
            if _is_materialized(self._context.instance, key, partition):
                raise
            raise InputError(
                f"Dagster knows of no materialization of {of}the asset {key.to_user_string()!r}, and it could not be loaded.",
                "Materialize it, and launch the dataset again.",
            ) from error


def _is_materialized(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> bool:
    if partition is None:
        return instance.get_latest_materialization_event(key) is not None
    return partition in instance.get_materialized_partitions(key)


@contextmanager
def loaded_asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Iterator[LoadedAsset | None]:
    """How to open the pipeline's upstream asset during the block; None if it has another source."""
    if not isinstance(pipeline.source, UpstreamAsset):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        yield LoadedAsset(context, pipeline, Path(folder))


def _type_of(name: str | None) -> type | None:
    if name is None or name == "str":
        return str if name else None
    module, _, attribute = name.rpartition(".")
    found: type = getattr(import_module(module), attribute)
    return found


def _sources(value: Any, asset: str, folder: Path) -> Iterator[ArrowSource]:
    """A value as sources that can be read any number of times; what can be read once is written to the folder."""
    import pyarrow.dataset as pa_dataset  # it brings pandas

    if isinstance(value, Mapping):  # partitions, as many IO managers give them
        for one in value.values():
            yield from _sources(one, asset, folder)
    elif isinstance(value, pa.Table):
        yield ArrowSource(value.schema, value.to_batches)
    elif isinstance(value, pa_dataset.Dataset):
        yield ArrowSource(value.schema, partial(dataset_batches, value))
    elif isinstance(value, pa.RecordBatchReader):
        yield _spooled(value, folder)
    elif (frame := frame_of(value)) is not None:
        yield from _sources(frame.table(frame.names), asset, folder)
    elif type(value).__module__.partition(".")[0] == "polars" and hasattr(value, "sink_parquet"):
        path = folder / f"{len(list(folder.iterdir()))}.parquet"
        value.sink_parquet(path)
        yield from _sources(pa_dataset.dataset(path), asset, folder)
    elif hasattr(value, "to_arrow_reader"):  # DuckDB
        yield _spooled(value.to_arrow_reader(BATCH_ROWS), folder)
    elif hasattr(value, "__arrow_c_stream__"):
        yield _spooled(pa.RecordBatchReader.from_stream(value), folder)
    else:
        raise InputError(
            f"The asset {asset!r} is a {type(value).__module__}.{type(value).__qualname__}, which cannot be an input.",
            "Return a frame of pandas or Polars, an Arrow table, reader or dataset, a DuckDB relation or a path; or name one of "
            "these in load_as.",
        )


def _spooled(reader: pa.RecordBatchReader, folder: Path) -> ArrowSource:
    path = folder / f"{len(list(folder.iterdir()))}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)

    def read() -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as batches:
            for number in range(batches.num_record_batches):
                yield batches.get_batch(number)

    return ArrowSource(reader.schema, read)


def _chained(sources: Sequence[ArrowSource], keys: Sequence[str | None] | None, asset: str) -> ArrowSource:
    """The rows of several partitions, one after another, with the columns of all of them."""
    named = keys if keys and len(keys) == len(sources) else range(1, len(sources) + 1)
    schemas = {f"partition {key}": one.schema for key, one in zip(named, sources, strict=True)}
    try:
        schema = common_schema(schemas)
    except NoCommonTypeError as error:
        raise InputError(f"Asset {asset!r}: {error.what}", "Give the partitions the same types.") from error

    def read() -> Iterator[pa.RecordBatch]:
        for one in sources:
            for batch in one.read():
                with conversion(f"A partition of the asset {asset!r}, in the types of all,"):
                    columns = [
                        widened(batch[field.name], field.type)
                        if field.name in batch.schema.names
                        else pa.nulls(batch.num_rows, field.type)
                        for field in schema
                    ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return ArrowSource(schema, read)
