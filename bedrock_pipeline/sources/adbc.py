"""A query through an ADBC driver: the driver's own Arrow batches, as it streams them."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.extras import missing_extra
from bedrock_pipeline.sources.source import RowBatch, positioned
from bedrock_pipeline.sources.sql_text import statement


@dataclass(frozen=True, slots=True)
class AdbcSource:
    """The rows of a query.

    Attributes:
        query: as the database takes it.
        driver: the Python package of a driver, or the name of one that is installed for the driver manager.
        uri: of the database; a secret.
        named: where the URI comes from, for messages.
    """

    query: str
    driver: str
    uri: str = field(repr=False)
    named: str

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """The columns of the query, by the names that its rows have."""
        with self._cursor() as cursor:
            # No statement but a SELECT can stand in another one; its names are not taken from there, since databases rename.
            cursor.execute(f"SELECT * FROM ({statement(self.query)}) AS input WHERE 1 = 0")  # noqa: S608
            cursor.fetch_record_batch().close()
        with self._cursor() as cursor:
            try:
                schema = cursor.adbc_execute_schema(self.query)
            except _imported("adbc_driver_manager.dbapi", self.driver).NotSupportedError:
                cursor.execute(self.query)
                with cursor.fetch_record_batch() as reader:
                    schema = reader.schema
        return list(schema.names)

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """The rows, in the order in which the driver gives them."""
        read = 0
        with self._cursor(lambda: read) as cursor:
            cursor.execute(self.query)
            with cursor.fetch_record_batch() as reader:
                names: list[str] = reader.schema.names
                if twice := sorted({name for name in names if names.count(name) > 1}):
                    raise InputError(
                        f"The query has two columns named {twice[0]!r}.",
                        "Name one of them with AS in the query.",
                    )
                for batch in positioned(batch.select(list(columns)) for batch in reader):
                    read += batch.rows.num_rows
                    yield batch

    @contextmanager
    def _cursor(self, read: Callable[[], int] = lambda: 0) -> Iterator[Any]:
        """A cursor of the driver; `read` says how many rows were read when it fails."""
        manager = _imported("adbc_driver_manager.dbapi", self.driver)
        try:
            with closing(self._connect(manager)) as connection, connection.cursor() as cursor:
                yield cursor
        # While rows stream, the driver's errors come through Arrow's reader, as errors of the system or of Arrow.
        except (manager.Error, OSError, pa.ArrowException) as error:
            # Its message may quote a row, or the URI.
            sqlstate = getattr(error, "sqlstate", None)
            state = f", SQLSTATE {sqlstate}" if sqlstate else ""
            after = f" after {read()} rows" if read() else ""
            raise InputError(
                f"The query on the database that {self.named} names failed in {self.driver}{after} "
                f"({type(error).__name__}{state}).",
                "Try the query and the URI with that driver.",
            ) from None

    def _connect(self, manager: Any) -> Any:
        if self.driver.startswith("adbc_driver_"):
            return _imported(f"{self.driver}.dbapi", self.driver).connect(self.uri)
        return manager.connect(driver=self.driver, db_kwargs={"uri": self.uri})


def _imported(module: str, driver: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra("adbc", f"The driver {driver}", driver) from error
