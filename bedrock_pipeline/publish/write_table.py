"""Write the results of a dataset into a table of Delta Lake or Iceberg.

One commit replaces the dataset's rows, whatever was there of it: a repetition after a crash adds nothing twice, and a new
version takes the place of the old one. The commit carries the number of the publication, so that a publisher that was
suspended cannot put an old version over a newer one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from bedrock_pipeline.aws.table_storage import delta_options, iceberg_properties
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError, ServiceUnavailableError
from bedrock_pipeline.publish.table_types import table_batch, table_schema
from bedrock_pipeline.records.result_schema import TABLE_COLUMNS
from bedrock_pipeline.sources import DeltaTable, IcebergTable, plain_location
from bedrock_pipeline.sources.extras import missing_extra

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset

#: Publications of a version, at most, by which versions and publications have one order.
_PUBLICATIONS: Final = 1_000_000
_BATCH_ROWS: Final = 16_384
#: What a snapshot of Iceberg says about the results in it.
_PUBLISHER, _NUMBER, _RESULTS = (
    "bedrock-pipeline.publisher",
    "bedrock-pipeline.publication",
    "bedrock-pipeline.results",
)


class TableRejectedError(ConfigurationError):
    """A table does not take the results."""


class TableBusyError(ServiceUnavailableError):
    """Somebody else has written into the table meanwhile; the next attempt replaces the rows again."""


@dataclass(frozen=True, slots=True)
class Written:
    """Results that are to be in a table.

    Attributes:
        version: of the dataset.
        publication: its number among the dataset's publications.
        results: the folder of the results.
        rows: the results themselves.
    """

    pipeline: str
    dataset: str
    version: int
    publication: int
    results: str
    rows: "pa_dataset.Dataset"

    @property
    def number(self) -> int:
        """Larger for a later version or publication of the dataset."""
        return self.version * _PUBLICATIONS + self.publication

    @property
    def condition(self) -> str:
        """Its rows in a table; neither name has a quote."""
        return f"pipeline = '{self.pipeline}' AND dataset = '{self.dataset}'"

    def schema(self) -> pa.Schema:
        """Of the table: the columns of the results, and which dataset they are of."""
        columns = table_schema(self.rows.schema)
        return pa.schema([*((name, pa.string()) for name in TABLE_COLUMNS), *columns])

    def reader(self) -> pa.RecordBatchReader:
        """The rows of the table, as a stream."""
        return pa.RecordBatchReader.from_batches(self.schema(), self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        columns = table_schema(self.rows.schema)
        ahead = {"batch_size": _BATCH_ROWS, "batch_readahead": 1, "fragment_readahead": 1}
        for batch in self.rows.to_batches(**ahead):
            found = table_batch(batch, columns)
            own = [pa.repeat(pa.scalar(value), batch.num_rows) for value in (self.pipeline, self.dataset)]
            yield pa.RecordBatch.from_arrays([*own, *found.columns], schema=self.schema())


def write_table(deployment: Deployment, table: DeltaTable | IcebergTable, written: Written) -> bool:
    """Replace the rows of a dataset in a table by its results; a table that does not exist is created.

    Returns:
        False if the table has a later publication of the dataset, and was not changed.

    Raises:
        TableRejectedError: the table has other columns, or does not take these.
        TableBusyError: another writer was faster.
        ConfigurationError: a package or a catalog is missing.
    """
    publisher = f"bedrock-pipeline/{deployment.ledger.deployment_id}/{written.pipeline}/{written.dataset}"
    if isinstance(table, DeltaTable):
        return _write_delta(deployment, table.of(written.dataset), written, publisher)
    return _write_iceberg(deployment, table.of(written.dataset), written, publisher)


def _write_delta(deployment: Deployment, table: DeltaTable, written: Written, publisher: str) -> bool:
    try:
        import deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError
    except ImportError as error:
        raise missing_extra("delta", "A Delta table") from error
    location = plain_location(table.location)
    options = delta_options(deployment.settings, location)
    try:
        exists = deltalake.DeltaTable.is_deltatable(location, options)
        if exists:
            there = deltalake.DeltaTable(location, storage_options=options).transaction_version(publisher)
            if there is not None and there > written.number:
                return False
        deltalake.write_deltalake(
            location,
            written.reader(),
            mode="overwrite",
            predicate=written.condition if exists else None,
            partition_by=None if exists else list(TABLE_COLUMNS),
            schema_mode="merge" if exists else None,
            storage_options=options,
            commit_properties=deltalake.CommitProperties(
                custom_metadata={_RESULTS: written.results},
                app_transactions=[deltalake.Transaction(publisher, written.number)],
            ),
        )
    except CommitFailedError as error:
        raise _busy(location) from error
    except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
        raise _rejected(location, error) from error
    return True


def _write_iceberg(deployment: Deployment, table: IcebergTable, written: Written, publisher: str) -> bool:
    from bedrock_pipeline.sources.iceberg import load_catalog

    catalog = load_catalog(table.catalog, iceberg_properties(deployment.settings))
    from pyiceberg.exceptions import CommitFailedException, ValidationError, ValidationException

    name = f"{table.catalog}:{table.table}"
    try:
        if "." in table.table:
            catalog.create_namespace_if_not_exists(table.table.rpartition(".")[0])
        found = catalog.create_table_if_not_exists(table.table, written.schema())
        if (_number_in(found, publisher) or 0) > written.number:
            return False
        with found.transaction() as transaction:
            with transaction.update_schema() as update:
                update.union_by_name(written.schema())
            transaction.overwrite(
                written.reader(),
                written.condition,
                {_PUBLISHER: publisher, _NUMBER: str(written.number), _RESULTS: written.results},
            )
    except (CommitFailedException, ValidationException) as error:  # another writer's rows of this dataset
        raise _busy(name) from error
    except NotImplementedError as error:
        raise TableRejectedError(
            f"The Iceberg table {name} is partitioned, and PyIceberg streams rows only into tables that are not.",
            "Publish into a table without partitions.",
        ) from error
    except (OSError, ValueError, ValidationError, pa.ArrowException) as error:
        raise _rejected(name, error) from error
    return True


def _number_in(table: Any, publisher: str) -> int | None:
    """The number of the last publication by a publisher in a table of Iceberg."""
    for snapshot in reversed(table.snapshots()):
        summary = snapshot.summary
        if summary is not None and summary.additional_properties.get(_PUBLISHER) == publisher:
            return int(summary.additional_properties[_NUMBER])
    return None


def _busy(name: str) -> TableBusyError:
    return TableBusyError(f"Another writer has changed the table {name} meanwhile.", "It is tried again.")


def _rejected(name: str, error: Exception) -> TableRejectedError:
    # The text of an error of Arrow may quote a value of the results.
    quotes = isinstance(error, pa.ArrowException)
    reason = type(error).__name__ if quotes else str(error).partition("\n")[0].rstrip(".")
    return TableRejectedError(
        f"The results cannot be written into the table {name}: {reason}.",
        "Publish into another table, or change the columns of one of them.",
    )
