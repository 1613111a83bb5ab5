"""The rows of a dataset in a table, and why a table does not take them. No table is opened here."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from bedrock_pipeline.errors import ConfigurationError, StateError
from bedrock_pipeline.publish.table_columns import table_columns
from bedrock_pipeline.publish.table_types import ColumnMismatchError, table_batch
from bedrock_pipeline.records.result_schema import TABLE_COLUMNS

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset

#: Publications of a version and versions of a dataset, at most: by these, incarnations, versions and publications have one
#: order, in Delta's 64 bits.
_PUBLICATIONS: Final = 1_000_000
_VERSIONS: Final = 1_000_000
_BATCH_ROWS: Final = 16_384
#: What a commit says about the results in it.
RESULTS: Final = "bedrock-pipeline.results"
_OWN: Final = pa.schema([(name, pa.string()) for name in TABLE_COLUMNS])


class TableRejectedError(ConfigurationError):
    """A table does not take the results, and will not until an operator changes something."""


class TableBusyError(StateError):
    """Somebody else has written into the table meanwhile; the next attempt replaces the rows again."""


class TableUnavailableError(StateError):
    """A table's store or catalog failed, which concerns this table alone; often passes by itself."""


@dataclass(frozen=True, slots=True)
class Written:
    """Results that are to be in a table.

    Attributes:
        version: of the dataset.
        publication: its number among the dataset's publications.
        results: the folder of the results.
        rows: the results themselves.
        schema: of the rows in the table: which dataset they are of, and the columns of the results that are written.
        failed: what reading the results raised; a table's writer has an error of its own then.
        incarnation: of the ledger; after a backup was restored, its versions are later than all that it has forgotten.
    """

    pipeline: str
    dataset: str
    version: int
    publication: int
    results: str
    rows: "pa_dataset.Dataset"
    schema: pa.Schema = _OWN
    failed: list[Exception] = field(default_factory=list)
    incarnation: int = 1

    @property
    def number(self) -> int:
        """Larger for a later incarnation of the ledger, and in it for a later version or publication of the dataset."""
        return (self.incarnation * _VERSIONS + self.version) * _PUBLICATIONS + self.publication

    @property
    def condition(self) -> str:
        """Its rows in a table; neither name has a quote."""
        return f"pipeline = '{self.pipeline}' AND dataset = '{self.dataset}'"

    def fitted(
        self, table: str, there: pa.Schema, *, promotes: bool = False, needed: Collection[str] = ()
    ) -> "Written":
        """The same rows with the columns that they have in a table; before any row is sent.

        Args:
            table: its name, for messages.
            there: its columns; none if it is created.
            promotes: whether the table widens its own types.
            needed: of its columns, those that every row must have, null if the results have no value.

        Raises:
            TableRejectedError: it cannot take a column.
        """
        try:
            wanted = pa.schema([*_OWN, *self.rows.schema])
            columns = table_columns(wanted, there, promotes=promotes, needed=needed)
        except ColumnMismatchError as error:
            raise mismatched(table, error) from None
        return replace(self, schema=columns, failed=[])

    def reader(self) -> pa.RecordBatchReader:
        """The rows of the table, as a stream."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows of the table."""
        ahead = {"batch_size": _BATCH_ROWS, "batch_readahead": 1, "fragment_readahead": 1}
        columns = pa.schema(list(self.schema)[len(_OWN) :])
        try:
            for batch in self.rows.to_batches(**ahead):
                found = table_batch(batch, columns)
                own = [pa.repeat(pa.scalar(value), batch.num_rows) for value in (self.pipeline, self.dataset)]
                yield pa.RecordBatch.from_arrays([*own, *found.columns], schema=self.schema)
        except Exception as error:
            self.failed.append(error)
            raise


def busy(table: str) -> TableBusyError:
    """Another writer was faster."""
    return TableBusyError(f"Another writer has changed the table {table} meanwhile.", "It is tried again.")


def rejected(table: str, why: str) -> TableRejectedError:
    """A table that takes no results, and why."""
    return TableRejectedError(
        f"The results cannot be written into the table {table}: {why}.",
        "Publish into another table, or change this one.",
    )


def mismatched(table: str, error: ColumnMismatchError) -> TableRejectedError:
    """A table that cannot take a column."""
    return TableRejectedError(
        f"The results cannot be written into the table {table}: {error}.",
        "Publish into another table, change the column there, or give it one type in all datasets (column_types).",
    )


def unavailable(table: str, error: Exception) -> TableUnavailableError:
    """A table's store or catalog failed. Its words may quote a value or a URI, and are not shown."""
    denied = any(word in str(error) for word in ("403", "AccessDenied", "Forbidden"))
    return TableUnavailableError(
        f"The store or the catalog of the table {table} {'denies access' if denied else 'failed'} ({type(error).__name__}).",
        "It is tried again. If that recurs, check the location, the credentials and the catalog.",
    )
