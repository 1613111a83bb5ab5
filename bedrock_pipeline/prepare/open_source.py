"""Open the input of a dataset: files, a query, a table, or what a function returns."""

import os

from bedrock_pipeline.aws.arrow_files import folder_filesystem
from bedrock_pipeline.aws.table_storage import delta_options, iceberg_properties
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.sources import (
    DeltaTable,
    IcebergTable,
    Source,
    SqlQuery,
    UpstreamAsset,
    open_location,
    plain_location,
    source_of,
)


class NoSourceError(ConfigurationError):
    """A dataset has no input."""


def open_source(deployment: Deployment, pipeline: Pipeline, dataset: str) -> Source:
    """The source of a dataset.

    Raises:
        NoSourceError: its pipeline has none.
        InputError: its location has no readable file; its table or query cannot be read.
        ConfigurationError: a variable, a catalog or a package that it needs is missing.
    """
    if pipeline.source is None:
        raise NoSourceError(
            f"Pipeline {pipeline.name!r} names no input for dataset {dataset!r}.",
            "Launch it with `bedrock-pipeline launch … --input`, or give the pipeline a source.",
        )
    if isinstance(pipeline.source, UpstreamAsset):
        raise NoSourceError(
            f"The input of dataset {dataset!r} is the asset {pipeline.source.asset!r}, which only a run of Dagster can load.",
            "Materialize input_dataset, or launch the dataset; what runs without Dagster needs `--input`.",
        )
    found = pipeline.source(dataset) if callable(pipeline.source) else pipeline.source
    if isinstance(found, SqlQuery):
        return _query(found.of(dataset))
    if isinstance(found, DeltaTable):
        return _delta(deployment, found.of(dataset))
    if isinstance(found, IcebergTable):
        return _iceberg(deployment, found.of(dataset))
    if isinstance(found, str):
        return _files(deployment, pipeline, dataset, [found])
    if isinstance(found, (list, tuple)) and all(isinstance(one, str) for one in found):
        return _files(deployment, pipeline, dataset, list(found))
    return source_of(found)


def _files(deployment: Deployment, pipeline: Pipeline, dataset: str, locations: list[str]) -> Source:
    return open_location(
        [location.replace("{dataset}", dataset) for location in locations],
        deployment.objects,
        pipeline.column_types,
        csv=pipeline.csv,
        missing_columns=pipeline.missing_columns,
    )


def _query(query: SqlQuery) -> Source:
    dsn = os.environ.get(query.dsn_env)
    if not dsn:
        raise ConfigurationError(
            f"The variable {query.dsn_env} is not set, which names the database of the query.",
            "Set it where runs execute (`bedrock-pipeline dev`, or the code location and its runs).",
        )
    if query.driver is None:
        from bedrock_pipeline.sources.postgres import PostgresSource  # brings psycopg

        return PostgresSource(query.query, dsn, query.dsn_env)
    from bedrock_pipeline.sources.adbc import AdbcSource

    return AdbcSource(query.query, query.driver, dsn, query.dsn_env)


def _delta(deployment: Deployment, table: DeltaTable) -> Source:
    from bedrock_pipeline.sources.delta import open_delta

    location = plain_location(table.location)
    files = None
    if location.startswith("s3://"):
        files = folder_filesystem(deployment.settings, location)
    return open_delta(location, table.version, delta_options(deployment.settings, location), files)


def _iceberg(deployment: Deployment, table: IcebergTable) -> Source:
    from bedrock_pipeline.sources.iceberg import open_iceberg

    properties = iceberg_properties(deployment.settings)
    return open_iceberg(table.catalog, table.table, table.snapshot_id, properties)
