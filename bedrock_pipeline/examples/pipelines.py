"""The example pipelines, and downstream assets that use their results."""

from typing import Any

import dagster as dg
import duckdb

from bedrock_pipeline.examples import MODEL
from bedrock_pipeline.examples.docstrings import docstring_source
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.limits import Limits

#: Small chunks and few slots, so that chunking, slots and polling can be seen.
_SMALL = Limits(max_records=1000, max_jobs=4)

stdlib_docstrings = Pipeline(
    name="stdlib_docstrings",
    model_id=MODEL,
    source=docstring_source,
    record_id="id",
    prompt="Summarise in one line what {{ object }} of Python's module {{ module }} does.\n\n{{ docstring }}",
    parameters={"max_tokens": 200, "temperature": 0},
    carry=("module", "object"),
    limits=_SMALL,
)

#: Each dataset gives its own file and prompt: `bedrock-pipeline launch own_files KEY --input … --prompt …`.
own_files = Pipeline(name="own_files", model_id=MODEL, prompt="{{ text }}", limits=_SMALL)

_NAMES = Names(stdlib_docstrings.name)


@dg.asset(
    key=_NAMES.asset("summaries_by_module"),
    ins={"results": dg.AssetIn(_NAMES.asset("results"))},
    partitions_def=_NAMES.datasets,
    group_name=stdlib_docstrings.name,
    automation_condition=dg.AutomationCondition.eager(),
    kinds={"pandas"},
    description="Example of a downstream asset that takes the results as a DataFrame.",
)
def summaries_by_module(
    results: Any,
) -> dg.MaterializeResult[None]:  # an annotation would import pandas in every run
    """Count the summaries of each module."""
    counts = results[results["status"] == "succeeded"].groupby("module").size().sort_values(ascending=False)
    return dg.MaterializeResult(
        metadata={"modules": len(counts), "most": counts.head(10).to_frame("summaries").to_markdown()}
    )


@dg.asset(
    key=_NAMES.asset("token_totals"),
    ins={"results": dg.AssetIn(_NAMES.asset("results"))},
    partitions_def=_NAMES.datasets,
    group_name=stdlib_docstrings.name,
    automation_condition=dg.AutomationCondition.eager(),
    kinds={"duckdb"},
    description="Example of a downstream asset that reads two columns of the results lazily.",
)
def token_totals(results: duckdb.DuckDBPyRelation) -> dg.MaterializeResult[None]:
    """Add up the tokens, without loading the responses."""
    names = ("input_tokens", "output_tokens")
    [totals] = results.aggregate("sum(input_tokens), sum(output_tokens)").fetchall()
    return dg.MaterializeResult(
        metadata={name: int(total or 0) for name, total in zip(names, totals, strict=True)}
    )
