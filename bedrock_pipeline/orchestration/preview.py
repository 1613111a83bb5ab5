"""A preview of published results: a few rows with their inputs, all values cut short.

What belongs here: reading the first rows of the first file. Only this part of Dagster's metadata has texts of users; a pipeline's
options turn it off.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
import pyarrow.parquet as pq

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.prepare.snapshot.stored_columns import RECORD_ID, input_columns
from bedrock_pipeline.publish.publish_dataset import Publication
from bedrock_pipeline.records.result_schema import COLUMNS

#: Where a value is cut, and of how many rows of the input those of the preview are looked for.
_MOST_CHARACTERS: Final = 200
_MOST_READ: Final = 100_000
#: Columns of the results that are shown, besides record ids, carried ones and those of structured responses.
_SHOWN: Final = ("status", "output_text", "error_code")
_PREFIX: Final = "input: "


def preview(
    deployment: Deployment, pipeline: BasePipeline, dataset: str, published: Publication, rows: int
) -> dict[str, Any]:
    """Metadata with the preview, as a table; none if it has no rows.

    Args:
        deployment: the deployment.
        pipeline: whose prompt names the columns of the input that are shown.
        dataset: its key.
        published: the publication.
        rows: how many are shown.
    """
    if not rows or not published.files:
        return {}
    columns = [name for name in published.schema.names if name in _SHOWN or name not in COLUMNS]
    found = _first(deployment, published.files[0], columns, rows)
    row = deployment.ledger.datasets.get(pipeline.name, dataset)
    inputs: Mapping[str, Mapping[str, Any]] = {}
    if row and row.snapshot_uri and isinstance(pipeline, Pipeline):
        inputs = _inputs(deployment, row.snapshot_uri, _asked(pipeline), [one["record_id"] for one in found])
    shown = [{**_cut(one), **_cut(inputs.get(one["record_id"], {}), _PREFIX)} for one in found]
    names = list(dict.fromkeys(name for one in shown for name in one))
    records = [dg.TableRecord({name: one.get(name, "") for name in names}) for one in shown]
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in names])
    return {"preview": dg.MetadataValue.table(records, schema)} if records else {}


def _asked(pipeline: Pipeline) -> Sequence[str]:
    from bedrock_pipeline.prepare.requests.request_template import RequestTemplate

    return [name for name in RequestTemplate.of(pipeline).columns if name not in pipeline.carry]


def _first(deployment: Deployment, uri: str, columns: Sequence[str], rows: int) -> list[dict[str, Any]]:
    with deployment.objects.random_access(uri) as file:
        parquet = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        batch = next(parquet.iter_batches(batch_size=rows, columns=list(columns)), None)
        return batch.to_pylist() if batch else []


def _inputs(
    deployment: Deployment, folder: str, wanted: Sequence[str], record_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The values of these records, by record id; those that are not near the beginning of the snapshot are left out."""
    uri = next((item.uri for item in deployment.objects.list(f"{folder}part-")), None)
    if uri is None or not wanted:
        return {}
    found: dict[str, dict[str, Any]] = {}
    with deployment.objects.random_access(uri) as file:
        parquet = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        stored = input_columns(parquet.schema_arrow)
        names = {stored[name].name: name for name in wanted if name in stored}
        read = 0
        for batch in parquet.iter_batches(batch_size=1000, columns=[RECORD_ID, *names]):
            ids = batch[RECORD_ID].to_pylist()
            for number, record_id in enumerate(ids):
                if record_id in record_ids:
                    values = batch.slice(number, 1).to_pylist()[0]
                    found[record_id] = {names[name]: values[name] for name in names}
            read += len(ids)
            if len(found) == len(record_ids) or read >= _MOST_READ:
                break
    return found


def _cut(row: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{name}": _short(value) for name, value in row.items()}


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
