"""Write the results of a dataset into an Iceberg table.

The number of the publication is a property of the table, set in the commit that replaces the rows: it outlives the snapshots,
which are expired.
"""

import errno
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from bedrock_pipeline.aws.table_storage import iceberg_properties
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.publish.table_rows import (
    RESULTS,
    TableRejectedError,
    Written,
    busy,
    mismatched,
    rejected,
    unavailable,
)
from bedrock_pipeline.publish.table_types import ColumnMismatchError
from bedrock_pipeline.sources import IcebergTable

_NUMBER: Final = "bedrock-pipeline.publication."
#: Rows of a partitioned table are held in memory up to this size: PyIceberg sorts them into their partitions.
_PART_BYTES: Final = 64 * 2**20
#: Errors of Python, and of Arrow's types that derive from them, which the next attempt would meet again.
_PERMANENT: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, NotImplementedError)


def write_iceberg(deployment: Deployment, table: IcebergTable, written: Written, publisher: str) -> bool:
    """Replace the rows of a dataset; see `write_table`."""
    from bedrock_pipeline.sources.iceberg import load_catalog

    catalog = load_catalog(table.catalog, iceberg_properties(deployment.settings))
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    name = f"{table.catalog}:{table.table}"
    failed: list[Exception] = []
    before = None
    try:
        found = _load(catalog, table.table, name, written)
        before = found.metadata_location
        if int(found.properties.get(_NUMBER + publisher, 0)) > written.number:
            return False
        # PyIceberg looks for what a table is partitioned by in the rows.
        sources = [found.schema().find_column_name(one.source_id) or "" for one in found.spec().fields]
        needed = {source.partition(".")[0] for source in sources} | set(sources)
        fitted = written.fitted(name, found.schema().as_arrow(), promotes=True, needed=needed)
        failed = fitted.failed
        _replace(found, fitted, {_NUMBER + publisher: str(written.number)})
    except BedrockPipelineError:
        raise
    except (CommitFailedException, ValidationException):  # another writer's rows of this dataset
        raise busy(name) from None
    except Exception as error:  # any catalog's client, and any file system's
        failure = _failure(name, failed[0] if failed else error)
        if (
            isinstance(failure, TableRejectedError)
            and not failed
            and _overtaken(catalog, table.table, before)
        ):
            failure = busy(
                name
            )  # PyIceberg tries a commit again itself, which fails where the schema has changed
        raise failure from None
    return True


def _overtaken(catalog: Any, identifier: str, before: str | None) -> bool:
    """Whether somebody has changed a table since its metadata were loaded from there."""
    try:
        return before is not None and bool(catalog.load_table(identifier).metadata_location != before)
    except Exception:  # the next attempt finds out what is wrong with the catalog
        return True


def _load(catalog: Any, identifier: str, name: str, written: Written) -> Any:
    """The table; it is created, empty, if it does not exist."""
    if "." not in identifier:
        raise rejected(name, "it lacks a namespace, as sales.reviews has")
    if catalog.table_exists(identifier):
        return catalog.load_table(identifier)
    catalog.create_namespace_if_not_exists(identifier.rpartition(".")[0])
    return catalog.create_table_if_not_exists(identifier, written.fitted(name, pa.schema([])).schema)


def _replace(table: Any, written: Written, number: dict[str, str]) -> None:
    """Replace the rows in one commit."""
    with table.transaction() as transaction:
        with transaction.update_schema() as update:
            update.union_by_name(written.schema)
        transaction.set_properties(number)
        rows: Any = written.reader()
        if table.spec().is_unpartitioned():
            transaction.overwrite(rows, written.condition, {RESULTS: written.results})
            return
        # PyIceberg streams only into tables without partitions: a part of the rows at a time, all in this commit.
        parts = _parts(rows)
        transaction.overwrite(next(parts), written.condition, {RESULTS: written.results})
        for part in parts:
            transaction.append(part, {RESULTS: written.results})


def _parts(rows: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The rows as tables of bounded size; one at least, which may be empty."""
    batches: list[pa.RecordBatch] = []
    size, first = 0, True
    for batch in rows:
        batches.append(batch)
        size += batch.nbytes
        if size >= _PART_BYTES:
            yield pa.Table.from_batches(batches, rows.schema)
            batches, size, first = [], 0, False
    if batches or first:
        yield pa.Table.from_batches(batches, rows.schema)


def _failure(name: str, error: Exception) -> BedrockPipelineError:
    from pyiceberg.exceptions import NotInstalledError, ResolveError, ValidationError

    if isinstance(error, BedrockPipelineError):
        return error
    if isinstance(error, ColumnMismatchError):
        return mismatched(name, error)
    if isinstance(error, OverflowError):  # its statistics are Python's dates
        return rejected(name, "PyIceberg takes no date or time before the year 1 or after 9999")
    if isinstance(error, ZeroDivisionError):
        return rejected(name, "PyIceberg takes no NaN in a column by whose values the table is partitioned")
    if isinstance(error, NotInstalledError):
        return rejected(name, "PyIceberg lacks a package; install bedrock-pipeline[iceberg] again")
    if isinstance(error, pa.ArrowInvalid):
        return rejected(
            name,
            "PyIceberg cannot write the rows; if a struct has a field that needs values, it takes no null struct",
        )
    if isinstance(error, (*_PERMANENT, ValidationError, ResolveError)):
        return rejected(name, f"PyIceberg takes them for invalid ({type(error).__name__})")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return rejected(name, "a value of a partition is too long for the name of a folder")
    return unavailable(name, error)
