"""What names a table as an input or for results: a query, a Delta table, an Iceberg table. Names only, no secret."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

_CONFIG = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class SqlQuery(BaseModel):
    """The rows of a query against a database."""

    model_config = _CONFIG

    kind: Literal["sql"] = "sql"
    """Distinguishes it from other tables in JSON."""
    query: str = Field(min_length=1)
    """A SELECT, in which `{dataset}` stands for the dataset's key as an SQL string."""
    dsn_env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable, where runs execute, with the database's DSN or URI. The DSN itself is stored nowhere."""
    driver: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]+$")
    """None: Postgres. Otherwise an ADBC driver: its Python package, such as `adbc_driver_snowflake`, or the name of a driver
    that is installed for the ADBC driver manager (extra `adbc`)."""

    def of(self, dataset: str) -> "SqlQuery":
        """The query of one dataset."""
        # A dataset's key has no quotes; doubling them costs nothing and holds if that changes.
        literal = "'" + dataset.replace("'", "''") + "'"
        return self.model_copy(update={"query": self.query.replace("{dataset}", literal)})


class DeltaTable(BaseModel):
    """A table of Delta Lake (extra `delta`)."""

    model_config = _CONFIG

    kind: Literal["delta"] = "delta"
    """Distinguishes it from other tables in JSON."""
    location: str = Field(min_length=1)
    """Its folder: a path or an `s3://` location, in which `{dataset}` stands for the dataset's key."""
    version: int | None = Field(default=None, ge=0)
    """The version to read; None: the newest when the snapshot is taken."""

    def of(self, dataset: str) -> "DeltaTable":
        """The table of one dataset."""
        return self.model_copy(update={"location": self.location.replace("{dataset}", dataset)})


class IcebergTable(BaseModel):
    """A table of Iceberg (extra `iceberg`)."""

    model_config = _CONFIG

    kind: Literal["iceberg"] = "iceberg"
    """Distinguishes it from other tables in JSON."""
    table: str = Field(min_length=1)
    """Its name with its namespace, such as `sales.reviews`, in which `{dataset}` stands for the dataset's key."""
    catalog: str = "default"
    """The catalog, as PyIceberg's configuration names it (`.pyiceberg.yaml`, or `PYICEBERG_CATALOG__…` variables)."""
    snapshot_id: int | None = None
    """The snapshot to read; None: the current one when the dataset's snapshot is taken."""

    def of(self, dataset: str) -> "IcebergTable":
        """The table of one dataset."""
        return self.model_copy(update={"table": self.table.replace("{dataset}", dataset)})


#: A table that a pipeline reads.
Table: TypeAlias = Annotated[SqlQuery | DeltaTable | IcebergTable, Field(discriminator="kind")]
#: A table that a pipeline publishes into.
Destination: TypeAlias = Annotated[DeltaTable | IcebergTable, Field(discriminator="kind")]
