"""Published results as inputs of downstream assets.

The IO manager reads the published version. It writes and pickles nothing, since the step `publish` has written it.
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.publish.read_results import for_duckdb, open_results, results_uri


class PublishedResults(dg.ConfigurableIOManager):
    """Loads a dataset's published results for a downstream asset.

    The annotation of the asset's parameter selects the type: `pandas.DataFrame` (also without an annotation),
    `pyarrow.Table` and `polars.DataFrame`, which have all rows in memory; `pyarrow.dataset.Dataset`, `polars.LazyFrame`
    and `duckdb.DuckDBPyRelation`, which read what is used; or `str`, the s3:// folder.
    """

    deployment: dg.ResourceDependency[DeploymentResource]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write nothing: the results are in S3 already."""

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the version that is published now.

        Raises:
            dagster.Failure: nothing is published yet, or the annotation is none of the types.
        """
        wanted = context.dagster_type.typing_type
        where = context.asset_key.path[0], context.asset_partition_key
        try:
            with self.deployment.open() as opened:
                if wanted is str:
                    return results_uri(opened, *where)
                dataset = open_results(opened, *where)
        except BedrockPipelineError as error:
            raise dg.Failure(str(error)) from error
        return _loaded(dataset, wanted)


def _loaded(dataset: Any, wanted: Any) -> Any:
    import duckdb  # here, like the next two: only an asset that takes results needs them
    import pandas as pd
    import pyarrow.dataset as pa_dataset

    if wanted is pa_dataset.Dataset:
        return dataset
    if wanted is pa.Table:
        return dataset.to_table()
    if wanted is duckdb.DuckDBPyRelation:
        return duckdb.connect().from_arrow(for_duckdb(dataset))
    if wanted in (pd.DataFrame, Any):
        return dataset.to_table().to_pandas()
    if getattr(wanted, "__module__", "").startswith("polars."):
        import polars as pl  # the user's own: this package does not need it

        if wanted is pl.LazyFrame:
            return pl.scan_pyarrow_dataset(dataset)
        if wanted is pl.DataFrame:
            return pl.DataFrame(dataset.to_table())
    raise dg.Failure(
        f"Published results cannot be loaded as {wanted}: annotate the parameter with pandas.DataFrame, pyarrow.Table, "
        "pyarrow.dataset.Dataset, polars.DataFrame, polars.LazyFrame, duckdb.DuckDBPyRelation or str."
    )
