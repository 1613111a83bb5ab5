"""The code location in `workspace.yaml`, with the example pipelines.

To serve your own pipelines, name your own module in `workspace.yaml`.
"""

import dagster as dg

from bedrock_pipeline.examples.pipelines import (
    own_files,
    stdlib_docstrings,
    summaries_by_module,
    token_totals,
)
from bedrock_pipeline.orchestration import build_definitions

defs: dg.Definitions = dg.Definitions.merge(
    build_definitions([stdlib_docstrings, own_files], downstream=[summaries_by_module, token_totals]),
    dg.Definitions(
        executor=dg.in_process_executor
    ),  # what is materialized by hand starts no process for each step
)
