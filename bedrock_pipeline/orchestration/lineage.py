"""Column lineage: which columns of the input the columns of a snapshot and of results are made of. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import dagster as dg

from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.upstream import asset_key
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.records.result_schema import COLUMNS
from bedrock_pipeline.sources import UpstreamAsset

_KEY: Final = "dagster/column_lineage"
_RECORD_ID: Final = "record_id"
#: Columns of the results that say nothing about the input.
_OF_CALLS: Final = COLUMNS.keys() - {"output_text", "embedding", "tool_use", "content_blocks", "raw_output"}


def of_snapshot(pipeline: Pipeline, columns: Iterable[str]) -> dict[str, Any]:
    """Metadata of a snapshot whose input is an asset: each column is one of the asset's."""
    if not isinstance(pipeline.source, UpstreamAsset):
        return {}
    key = asset_key(pipeline.source)
    made_of = {name: name for name in columns if name != _RECORD_ID}
    if pipeline.record_id:
        made_of[_RECORD_ID] = pipeline.record_id
    return {_KEY: _lineage({name: [dg.TableColumnDep(key, column)] for name, column in made_of.items()})}


def of_results(pipeline: BasePipeline, columns: Iterable[str]) -> dict[str, Any]:
    """Metadata of results: columns of responses are made of those of the prompt, carried ones of themselves.

    They lead to the asset that is the input, otherwise to `input_dataset`.
    """
    if not isinstance(pipeline, Pipeline):  # tasks have no columns
        return {}
    from bedrock_pipeline.prepare.requests.request_template import RequestTemplate

    template = RequestTemplate.of(pipeline)
    if isinstance(pipeline.source, UpstreamAsset):
        key, record_id = asset_key(pipeline.source), pipeline.record_id
        asked = (*template.columns, *template.contents.columns)
    else:
        key, record_id, asked = Names.of(pipeline).asset("input_dataset"), _RECORD_ID, template.columns
    made_of: dict[str, list[dg.TableColumnDep]] = {}
    for name in columns:
        if name == _RECORD_ID:
            found: tuple[str, ...] = (record_id,) if record_id else ()
        elif name in pipeline.carry:
            found = (name,)
        else:
            found = () if name in _OF_CALLS else asked
        made_of[name] = [dg.TableColumnDep(key, column) for column in found]
    return {_KEY: _lineage(made_of)}


def _lineage(made_of: dict[str, list[dg.TableColumnDep]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage({name: deps for name, deps in made_of.items() if deps})
