"""A query through an ADBC driver: the driver's own Arrow batches, as it streams them."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.extras import missing_extra
from bedrock_pipeline.sources.source import RowBatch, positioned


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
        """The columns of the query, which the database runs without its rows."""
        inner = self.query.strip().rstrip(";").rstrip()
        with self._reader(f"SELECT * FROM ({inner}\n) AS input WHERE 1 = 0") as reader:  # noqa: S608
            return list(reader.schema.names)

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """The rows, in the order in which the driver gives them."""
        with self._reader(self.query) as reader:
            names: list[str] = reader.schema.names
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(
                    f"The query has two columns named {twice[0]!r}.", "Name one of them with AS in the query."
                )
            yield from positioned(batch.select(list(columns)) for batch in reader)

    @contextmanager
    def _reader(self, query: str) -> Iterator[Any]:
        manager = _imported("adbc_driver_manager.dbapi", self.driver)
        try:
            with closing(self._connect(manager)) as connection, connection.cursor() as cursor:
                cursor.execute(query)
                yield cursor.fetch_record_batch()
        except manager.Error as error:
            # Its message may quote a row, or the URI.
            state = f", SQLSTATE {error.sqlstate}" if error.sqlstate else ""
            raise InputError(
                f"The query on the database that {self.named} names failed in {self.driver} "
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
