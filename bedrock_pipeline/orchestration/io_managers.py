"""Published results as inputs of downstream assets.

The IO manager reads the published version. It writes and pickles nothing, since the step `publish` has written it.
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from bedrock_pipeline.aws.clients import arrow_filesystem
from bedrock_pipeline.orchestration.resources import DeploymentResource


class PublishedResults(dg.ConfigurableIOManager):
    """Loads a dataset's published results for a downstream asset.

    The annotation of the asset's parameter selects the type: `pandas.DataFrame`, `pyarrow.Table`,
    `pyarrow.dataset.Dataset` (lazy) or `str` (the s3:// folder).
    """

    deployment: dg.ResourceDependency[DeploymentResource]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write nothing: the results are in S3 already."""

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the version that is published now.

        Raises:
            dagster.Failure: nothing is published yet, or the annotation is not one of the four types.
        """
        pipeline = context.asset_key.path[0]
        with self.deployment.open() as opened:
            row = opened.ledger.datasets.get(pipeline, context.asset_partition_key)
            if row is None or row.results_uri is None:
                raise dg.Failure(f"Dataset {context.asset_partition_key} of {pipeline} is not published yet.")
            filesystem = arrow_filesystem(opened.settings)
        wanted = context.dagster_type.typing_type
        if wanted is str:
            return row.results_uri
        import pandas as pd  # here, like the next: it costs half a second, and only an asset that takes results needs it
        import pyarrow.dataset as pa_dataset

        dataset = pa_dataset.dataset(
            row.results_uri.removeprefix("s3://").rstrip("/"), filesystem=filesystem, format="parquet"
        )
        if wanted is pa_dataset.Dataset:
            return dataset
        if wanted is pa.Table:
            return dataset.to_table()
        if wanted in (pd.DataFrame, Any):
            return dataset.to_table().to_pandas()
        raise dg.Failure(
            f"Published results cannot be loaded as {wanted}: annotate the parameter with pandas.DataFrame, "
            "pyarrow.Table, pyarrow.dataset.Dataset or str."
        )
