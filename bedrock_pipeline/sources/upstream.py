"""An asset of Dagster as the input of a pipeline: what is declared. Loading it is the orchestration's."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: The types that can be requested of an IO manager; None leaves it to the IO manager.
LoadAs = Literal[
    "pandas.DataFrame",
    "polars.DataFrame",
    "polars.LazyFrame",
    "pyarrow.Table",
    "pyarrow.RecordBatchReader",
    "pyarrow.dataset.Dataset",
    "duckdb.DuckDBPyRelation",
    "str",
]


class UpstreamAsset(BaseModel):
    """An asset of Dagster whose value is the input: a frame, an Arrow table or reader, a dataset, a DuckDB relation or a path.

    Each partition of it is a dataset (docs/dagster.md); an asset without partitions is one dataset. It is loaded by its own
    IO manager.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    asset: str = Field(min_length=1, examples=["raw/reviews"])
    """Key of the asset, its parts separated by slashes."""
    dataset: str = Field(default="current", examples=["reviews"])
    """Key of the dataset that an asset without partitions makes."""
    load_as: LoadAs | None = Field(default=None, examples=["polars.LazyFrame"])
    """The type that is requested of its IO manager, as the annotation of a parameter would; None: what the IO manager gives
    without one. `str` is a path or an s3:// location."""
    launch: bool = Field(default=True, examples=[False])
    """Whether a materialization of the asset launches the dataset; otherwise an operator or a schedule does."""
    on_change: Literal["new_version", "error"] = Field(default="new_version", examples=["error"])
    """What happens if the asset's content has changed after jobs were submitted: a new version of the dataset, which is
    processed at its full cost, or an error that waits for an operator."""
