"""Command `launch`, and the options by which a dataset differs from its pipeline."""

from pathlib import Path
from typing import Any, get_args

import click
from pydantic import ValidationError

from bedrock_pipeline.cli.known import check_served
from bedrock_pipeline.cli.request_options import request_options
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.ledger.rows import VersionRow, usd
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.sources import DeltaTable, IcebergTable, SqlQuery, plain_location

_TABLE_OPTIONS = ("sql", "dsn_env", "driver", "delta", "iceberg")


def dataset_request(
    *, source: str | None = None, model: str | None = None, schema: Path | None = None, **options: Any
) -> dict[str, Any]:
    """The settings of a dataset as the ledger keeps them, from the options of a command; paths become absolute.

    Raises:
        UsageError: the options name several inputs, or a query without its database.
        AnswerSchemaError: the file contains no JSON schema that can be used.
    """
    table = _table(source, {name: options.pop(name, None) for name in _TABLE_OPTIONS})
    request = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    request["model_id"] = model
    if source is not None:
        request["source"] = _absolute(source)
    elif table is not None:
        request["source"] = table.model_dump(exclude_none=True)
    if schema is not None:
        request["answer_schema"] = _read_schema(schema)
    return {name: value for name, value in request.items() if value or value == {}}


def _absolute(location: str) -> str:
    plain = plain_location(location)
    return plain if plain.startswith("s3://") else str(Path(plain).absolute())


def _table(source: str | None, given: dict[str, str | None]) -> SqlQuery | DeltaTable | IcebergTable | None:
    """The table that options name; None if they name none."""
    sql, dsn_env, delta, iceberg = (given[name] for name in ("sql", "dsn_env", "delta", "iceberg"))
    inputs = {"--input": source, "--sql": sql, "--delta": delta, "--iceberg": iceberg}
    if len(both := [name for name, value in inputs.items() if value]) > 1:
        raise click.UsageError(f"{' and '.join(both)} each name an input: give one.")
    if bool(sql) != bool(dsn_env) or (given["driver"] and not sql):
        raise click.UsageError(
            "--sql needs --dsn-env, the variable with its database's DSN; --driver goes with both."
        )
    try:
        if sql and dsn_env:
            return SqlQuery(query=sql, dsn_env=dsn_env, driver=given["driver"])
    except ValidationError as error:
        wrong = {str(one["loc"][0]).replace("_", "-") for one in error.errors()}
        raise click.UsageError(
            f"--{', --'.join(sorted(wrong))}: it is a name of letters, digits and _."
        ) from None
    if delta:
        return DeltaTable(location=_absolute(delta))
    if iceberg:
        catalog, separator, table = iceberg.rpartition(":")
        return IcebergTable(table=table, catalog=catalog) if separator else IcebergTable(table=table)
    return None


def _read_schema(file: Path) -> str:
    """The schema as text: the order of its properties, in which models answer, would not survive a JSON column."""
    text = file.read_text(encoding="utf-8")
    AnswerSchema.from_text(text)  # reports an error here rather than in a run
    return text


@click.command()
@click.argument("pipeline")
@click.argument("dataset")
@click.option("--input", "source", help="Input file, glob, folder or s3:// location.")
@click.option(
    "--sql", metavar="QUERY", help="Input: the rows of a query; {dataset} in it is the dataset's key."
)
@click.option(
    "--dsn-env", metavar="NAME", help="Variable with the DSN of the query's database, where runs execute."
)
@click.option("--driver", metavar="NAME", help="ADBC driver for the query; default: Postgres.")
@click.option("--delta", metavar="LOCATION", help="Input: a Delta table, a folder or s3:// location.")
@click.option(
    "--iceberg",
    metavar="TABLE",
    help="Input: an Iceberg table, such as sales.reviews or catalog:sales.reviews.",
)
@click.option("--model", help="Model id or ARN.")
@request_options
@click.option(
    "--below-minimum",
    type=click.Choice(get_args(BelowMinimum)),
    help="What happens to fewer records than a job needs.",
)
@click.option(
    "--max-cost-usd",
    type=click.FloatRange(min=0, min_open=True),
    help="Submit nothing beyond this cost until an operator approves it.",
)
@click.option(
    "--new-version",
    is_flag=True,
    help="Process the dataset again, at its full cost, although chunks of other content were submitted.",
)
def launch(pipeline: str, dataset: str, new_version: bool, **options: Any) -> None:
    """Request the processing of a dataset; Dagster's sensors start it."""
    check_dataset_key(dataset)
    request = dataset_request(**options)
    with open_deployment(Settings.resolve()) as deployment:
        check_served(deployment.ledger, pipeline)
        row = deployment.ledger.datasets.request(
            pipeline,
            dataset,
            request,
            launch=True,
            new_version=new_version,
            launch_id=deployment.system.new_id(),
        )
        before = deployment.ledger.versions.history(pipeline, dataset)[1:2]
    if row.preparation_began_at:
        click.echo(f"launched {dataset} of {pipeline}: its input is compared with version {row.version}")
    else:
        click.echo(f"launched version {row.version} of {dataset} of {pipeline}")
        for version in before:
            click.echo(describe_version(version))
    click.echo(f"see: bedrock-pipeline status {pipeline} {dataset}")


def describe_version(version: VersionRow) -> str:
    """One line about an earlier version: how it ended, and what it cost."""
    reason = f" {version.state_reason}" if version.state_reason else ""
    at = f"{version.state_changed_at:%Y-%m-%d %H:%M %Z}"
    jobs = f"; {version.jobs} jobs" if version.jobs else ""
    flying = f", {version.in_flight} of them in flight, whose responses are kept" if version.in_flight else ""
    cost = "" if version.cost_usd is None else f", {usd(version.cost_usd)}"
    return f"version {version.version} was {version.state}{reason} at {at}{jobs}{flying}{cost}"
