"""Write the results of a dataset into a Delta table.

The table is loaded once: what is checked is what the commit replaces, so that whatever others commit meanwhile is a conflict.
A table that does not exist is created empty first; of two that create it one fails, and neither has rows in it yet.
"""

from importlib.util import find_spec
from typing import Any, Final

import pyarrow as pa
import pyarrow.types as pt

from bedrock_pipeline.aws.table_storage import delta_options, serves_checkpoints
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
from bedrock_pipeline.records.result_schema import TABLE_COLUMNS
from bedrock_pipeline.sources import DeltaTable, plain_location
from bedrock_pipeline.sources.delta import NO_RANGE, opening_problem
from bedrock_pipeline.sources.extras import missing_extra

#: What deltalake says where a store, and no table, is the cause.
_STORES: Final = ("object store", "generic s3", "error sending request", "timed out", "connection")
_INVALID: Final = "failed validation check"
#: Types of partitions whose values deltalake writes as names of folders that it cannot read ('-1.-5000'), or no other
#: reader ('\\u0061').
_BAD_PARTITIONS: Final = ("decimal", "binary")


def write_delta(deployment: Deployment, table: DeltaTable, written: Written, publisher: str) -> bool:
    """Replace the rows of a dataset; see `write_table`."""
    if find_spec("deltalake.exceptions") is None:
        raise missing_extra("delta", "A Delta table")
    location = plain_location(table.location)
    options = delta_options(deployment.settings, location)
    checkpoints = serves_checkpoints(deployment.settings, location)
    failed: list[Exception] = []
    before: int | None = None
    try:
        there = _load(location, options, written, _after_commit(checkpoints=checkpoints))
        before = there.version()
        last = there.transaction_version(publisher)
        if last is not None and last > written.number:
            return False
        fitted = written.fitted(location, pa.schema(there.schema().to_arrow()))
        failed = fitted.failed
        _allow_types(there, fitted.schema, _after_commit(checkpoints=checkpoints))
        _replace(there, fitted, publisher, _after_commit(checkpoints=checkpoints))
    except BedrockPipelineError:
        raise
    except Exception as error:  # deltalake raises also what its parts raise, and bare exceptions
        failure = _failure(location, failed[0] if failed else error)
        # A commit also fails where the table has a feature that the writer lacks.
        if isinstance(failure, TableRejectedError) and not failed and _overtaken(location, options, before):
            failure = busy(location)
        raise failure from None
    return True


def _overtaken(location: str, options: dict[str, str], before: int | None) -> bool:
    """Whether somebody has changed a table since it had this version."""
    import deltalake

    try:
        return (
            before is not None and deltalake.DeltaTable(location, storage_options=options).version() > before
        )
    except Exception:  # the next attempt finds out what is wrong with the store
        return True


def _after_commit(*, checkpoints: bool) -> Any:
    from deltalake import PostCommitHookProperties

    return (
        None if checkpoints else PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
    )


def _load(location: str, options: dict[str, str], written: Written, after_commit: Any) -> Any:
    """The table, which has the columns that say which dataset a row is of."""
    import deltalake
    from deltalake.schema import PrimitiveType

    if not deltalake.DeltaTable.is_deltatable(location, options):
        fitted = written.fitted(location, pa.schema([])).schema
        # The others are added by the commit, once the table has the feature for them.
        schema = pa.schema([field for field in fitted if not _zoneless_in_map(field.type)])
        deltalake.DeltaTable.create(
            location, schema, mode="ignore", partition_by=list(TABLE_COLUMNS), storage_options=options
        )
    there = deltalake.DeltaTable(location, storage_options=options)
    if there.metadata().configuration.get("delta.appendOnly", "").lower() == "true":
        raise rejected(
            location, "it is append-only (delta.appendOnly), and rows of an earlier version would be left"
        )
    kinds = {field.name: getattr(field.type, "type", "") for field in there.schema().fields}
    for name in there.metadata().partition_columns:
        if kinds[name].startswith(_BAD_PARTITIONS):
            raise rejected(
                location, f"its partitions are those of {name!r}, of type {kinds[name].split('(')[0]}"
            )
    names = {name.casefold() for name in kinds}
    if lacking := [name for name in TABLE_COLUMNS if name not in names]:
        # A table of the user's: none of its rows is of a dataset.
        added = [deltalake.Field(name, PrimitiveType("string")) for name in lacking]
        there.alter.add_columns(added, post_commithook_properties=after_commit)
        there = deltalake.DeltaTable(location, storage_options=options)
    return there


def _allow_types(there: Any, schema: pa.Schema, after_commit: Any) -> None:
    """Give the table the feature for timestamps without a zone, which deltalake forgets where they are in a map."""
    from deltalake import TableFeatures

    if any(_zoneless_in_map(kind) for kind in schema.types) and "timestampNtz" not in (
        there.protocol().reader_features or []
    ):
        there.alter.add_feature(
            TableFeatures.TimestampWithoutTimezone,
            allow_protocol_versions_increase=True,
            post_commithook_properties=after_commit,
        )


def _zoneless_in_map(kind: pa.DataType, *, inside: bool = False) -> bool:
    if pt.is_timestamp(kind):
        return inside and kind.tz is None
    if pt.is_map(kind):
        return any(_zoneless_in_map(one, inside=True) for one in (kind.key_type, kind.item_type))
    if pt.is_struct(kind):
        return any(_zoneless_in_map(one.type, inside=inside) for one in kind)
    return pt.is_list(kind) and _zoneless_in_map(kind.value_type, inside=inside)


def _replace(there: Any, written: Written, publisher: str, after_commit: Any) -> None:
    import deltalake

    deltalake.write_deltalake(
        there,
        written.reader(),
        mode="overwrite",
        predicate=written.condition,
        schema_mode="merge",
        commit_properties=deltalake.CommitProperties(
            custom_metadata={RESULTS: written.results},
            app_transactions=[deltalake.Transaction(publisher, written.number)],
        ),
        post_commithook_properties=after_commit,
    )


def _failure(location: str, error: Exception) -> BedrockPipelineError:
    from deltalake.exceptions import DeltaError, DeltaProtocolError

    said = str(error).lower()
    if isinstance(error, BedrockPipelineError):
        return error
    if isinstance(error, ColumnMismatchError):
        return mismatched(location, error)
    if _INVALID in said:
        return rejected(location, "a row breaks a constraint of the table")
    if isinstance(error, DeltaProtocolError) or NO_RANGE in said:
        return rejected(location, opening_problem(error))
    if isinstance(error, OSError) or any(words in said for words in _STORES):
        return unavailable(location, error)
    if "feature" in said or "protocol" in said:
        return rejected(location, "it has a feature that deltalake cannot write")
    kind = "deltalake" if isinstance(error, DeltaError) else type(error).__name__
    return rejected(location, f"its writer failed ({kind})")
