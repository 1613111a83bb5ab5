"""Published results as inputs of downstream assets.

The IO manager reads the published version. It writes and pickles nothing, since the step `publish` has written it.
"""

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import dagster as dg
import pyarrow as pa

from bedrock_pipeline.errors import BedrockPipelineError, NotFoundError, StateError
from bedrock_pipeline.orchestration.options import PIPELINE_METADATA
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.publish.engine_types import in_duckdb, in_pandas, in_polars, lazily_in_polars
from bedrock_pipeline.publish.read_results import open_results, results_uri
from bedrock_pipeline.records.keys import dataset_of
from bedrock_pipeline.sources.widening import NoCommonTypeError, common_schema


class PublishedResults(dg.ConfigurableIOManager):
    """Loads a dataset's published results for a downstream asset.

    The annotation of the asset's parameter selects the type: `pandas.DataFrame` (also without an annotation),
    `pyarrow.Table` and `polars.DataFrame`, which have all rows in memory; `pyarrow.dataset.Dataset`, `polars.LazyFrame`
    and `duckdb.DuckDBPyRelation`, which read what is used; or `str`, the s3:// folder.

    Several partitions are one table, with `list[str]` their folders, or with `dict[str, …]` (or `dict`) a value of each
    partition, by its key. Datasets that are not published yet are left out, and the run's log names them.
    """

    deployment: dg.ResourceDependency[DeploymentResource]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write nothing: the results are in S3 already."""

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the versions that are published now.

        Raises:
            dagster.Failure: nothing is published yet, or the annotation is none of the types.
        """
        if not context.has_asset_partitions:
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} has a dataset in each partition: give a partition_key."
            )
        wanted, pipeline = _required(context.dagster_type.typing_type), _pipeline_of(context)
        by_partition, folders = (
            dict in (wanted, get_origin(wanted)),
            get_origin(wanted) is list and get_args(wanted) == (str,),
        )
        one = (get_args(wanted) or (str, Any))[1] if by_partition else str if folders else wanted
        several = by_partition or folders or len(context.asset_partition_keys) > 1
        if several and wanted is str:
            raise dg.Failure("Several datasets have no single folder: annotate the parameter with list[str].")
        keys = context.asset_partition_keys
        found: dict[str, Any] = {}
        with self.deployment.open() as opened:
            for key in keys:
                try:
                    read = results_uri if one is str else open_results
                    found[key] = read(opened, pipeline, _dataset_of(context, key))
                except BedrockPipelineError as error:
                    if not several or not isinstance(error, NotFoundError | StateError):
                        raise dg.Failure(str(error)) from error
                    context.log.warning("%s It is left out.", error)
        if by_partition:
            return {key: value if one is str else _loaded(value, one) for key, value in found.items()}
        if not found:
            raise dg.Failure(f"None of {len(keys)} datasets of {pipeline!r} is published yet.")
        if one is str:
            return list(found.values()) if folders else next(iter(found.values()))
        return _loaded(next(iter(found.values())) if not several else _union(found), one)


def _required(annotation: Any) -> Any:
    """The type in an `Optional[…]`, or the annotation itself."""
    others = [one for one in get_args(annotation) if one is not NoneType]
    optional = get_origin(annotation) in (Union, UnionType) and len(others) == 1
    return others[0] if optional else annotation


def _pipeline_of(context: dg.InputContext) -> str:
    """The name of the pipeline whose results are loaded; the asset may have a key of its own."""
    upstream = context.upstream_output
    found = (upstream.definition_metadata if upstream else {}).get(PIPELINE_METADATA)
    return str(found.value if isinstance(found, dg.MetadataValue) else found or context.asset_key.path[0])


def _dataset_of(context: dg.InputContext, partition_key: str) -> str:
    dynamic = isinstance(context.asset_partitions_def, dg.DynamicPartitionsDefinition)
    return partition_key if dynamic else dataset_of(partition_key)


def _union(found: dict[str, Any]) -> Any:
    """Several datasets as one, with the columns of all, in types for the values of all."""
    import pyarrow.dataset as pa_dataset

    try:
        schema = common_schema({f"partition {key!r}": one.schema for key, one in found.items()})
    except NoCommonTypeError as error:
        raise dg.Failure(
            f"{error.what} Annotate the parameter with dict[str, …] to take each dataset by itself."
        ) from error
    # Arrow casts the columns of a file to the schema of its dataset.
    parts = [
        pa_dataset.FileSystemDataset(list(one.get_fragments()), schema, one.format, one.filesystem)
        for one in found.values()
    ]
    return pa_dataset.UnionDataset(schema, parts)


def _loaded(dataset: Any, wanted: Any) -> Any:
    try:
        return _in_engine(dataset, wanted)
    except pa.ArrowException as error:
        raise dg.Failure(
            f"The published results cannot be loaded as {wanted} ({type(error).__name__}; its message is not shown, since it may "
            "quote a value). If several datasets are loaded, a value may not fit the type that their columns have in common: "
            "annotate the parameter with dict[str, …] to take each by itself."
        ) from None


def _in_engine(dataset: Any, wanted: Any) -> Any:
    import duckdb  # here, like the next two: only an asset that takes results needs them
    import pandas as pd
    import pyarrow.dataset as pa_dataset

    if wanted is pa_dataset.Dataset:
        return dataset
    if wanted is pa.Table:
        return dataset.to_table()
    if wanted is duckdb.DuckDBPyRelation:
        return in_duckdb(dataset, duckdb.connect())
    if wanted in (pd.DataFrame, Any):
        return in_pandas(dataset)
    if getattr(wanted, "__module__", "").startswith("polars."):
        import polars as pl  # the user's own: this package does not need it

        if wanted is pl.LazyFrame:
            return lazily_in_polars(dataset)
        if wanted is pl.DataFrame:
            return in_polars(dataset)
    raise dg.Failure(
        f"Published results cannot be loaded as {wanted}: annotate the parameter with pandas.DataFrame, pyarrow.Table, "
        "pyarrow.dataset.Dataset, polars.DataFrame, polars.LazyFrame, duckdb.DuckDBPyRelation or str; several datasets each by itself: dict[str, …] of these, or list[str]."
    )
