"""What an import brings in: a process pays for what it uses, not for what others use."""

import json
import subprocess
import sys

import pytest

#: Each takes a twentieth of a second to a second to import.
HEAVY = {
    *(
        "boto3",
        "botocore",
        "dagster",
        "dagster_aws",
        "duckdb",
        "genai_prices",
        "jsonschema",
        "numpy",
        "pandas",
    ),
    *("polars", "psutil", "psycopg", "pyarrow", "pydantic", "rich", "sqlalchemy"),
    *("hypercorn", "starlette", "uvicorn"),
}
DAGSTER = {"boto3", "botocore", "dagster", "dagster_aws", "pydantic", "rich", "sqlalchemy"}
#: What each module may bring in of these.
MAY_BRING = {
    "bedrock_pipeline": set(),
    "bedrock_pipeline.cli": set(),
    "bedrock_pipeline.errors": set(),
    "bedrock_pipeline.kernel": {"numpy", "pyarrow", "pydantic"},
    "bedrock_pipeline.queue": {"boto3", "botocore", "numpy", "psycopg", "pyarrow", "pydantic"},
    "bedrock_pipeline.emulator.control": {"boto3", "botocore"},
    "bedrock_pipeline.orchestration": DAGSTER | {"numpy", "psycopg", "pyarrow"},
    # The same, and what its example assets name in their annotations.
    "bedrock_pipeline.definitions": DAGSTER | {"numpy", "psycopg", "pyarrow", "duckdb"},
}


def brought_by(code: str) -> set[str]:
    """Packages that a fresh interpreter has imported after some code."""
    report = (
        f"{code}\nimport sys, json\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", MAY_BRING)
def test_a_module_brings_in_only_what_it_uses(module: str) -> None:
    assert brought_by(f"import {module}") & HEAVY <= MAY_BRING[module]


def test_a_public_name_is_imported_when_it_is_asked_for() -> None:
    looked = "import bedrock_pipeline; dir(bedrock_pipeline); bedrock_pipeline.__all__"
    assert not brought_by(looked) & HEAVY
    assert "pydantic" in brought_by(f"{looked}; bedrock_pipeline.Pipeline")
    assert "dagster" not in brought_by(f"{looked}; bedrock_pipeline.BedrockQueue")
    assert "dagster" in brought_by("from bedrock_pipeline import build_definitions")
