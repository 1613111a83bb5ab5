"""The code location that `workspace.yaml` names.

What belongs here: which pipelines it serves. Point `workspace.yaml` at a module of your own to serve yours.
"""

import dagster as dg

from bedrock_pipeline.examples.pipelines import (
    own_files,
    stdlib_docstrings,
    summaries_by_module,
    token_totals,
)
from bedrock_pipeline.orchestration import build_definitions

defs: dg.Definitions = build_definitions(
    [stdlib_docstrings, own_files], downstream=[summaries_by_module, token_totals]
)
