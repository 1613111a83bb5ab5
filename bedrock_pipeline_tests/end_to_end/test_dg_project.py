"""A `dg` project made from nothing, with a pipeline by component, launched and published through the real daemon."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as pa_dataset
import pytest

from bedrock_pipeline.cli.services import running
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.local import file_uri
from bedrock_pipeline_tests.waiting import until

BIN = Path(sys.executable).parent
COMPONENT = "bedrock_pipeline.BedrockBatchComponent"
DOWNSTREAM = '''"""A downstream asset."""

import dagster as dg
import pandas as pd
from bedrock_pipeline.orchestration.names import Names


@dg.asset(
    ins={"results": dg.AssetIn(Names("reviews").asset("results"))},
    partitions_def=Names("reviews").datasets,
)
def counted(results: pd.DataFrame) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": len(results)})
'''


def command(folder: Path, *arguments: str, fails: bool = False) -> str:
    """The output of a command of the environment that runs the tests."""
    home = folder / ".dagster_home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    done = subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "DAGSTER_HOME": str(home),
            "COLUMNS": "200",
            "PYTHONPATH": str(folder / "src"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, f"{' '.join(arguments)}: {done.stdout}"
    return done.stdout


@pytest.mark.end_to_end
@pytest.mark.timeout(2400)  # ten commands of some seconds each, and two waits
def test_a_project_made_from_nothing_in_ten_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path, "create-dagster", "project", "--no-uv-sync", "shop")
    project = tmp_path / "shop"
    inputs = project / "inputs"
    inputs.mkdir()
    lines = [json.dumps({"id": f"r{n}", "text": f"review {n}"}) + "\n" for n in range(120)]
    (inputs / "d1.jsonl").write_text("".join(lines))
    source = ("--source", str(inputs / "{dataset}.jsonl"))

    assert COMPONENT in command(project, "dg", "list", "components", "--json")
    described = command(project, "dg", "utils", "inspect-component", COMPONENT)
    assert "Template of the user message" in described
    command(
        project, "dg", "scaffold", "defs", COMPONENT, "reviews", *source, "--prompt", "One word: {{ text }}"
    )
    written = project / "src/shop/defs/reviews/defs.yaml"
    assert "One word: {{ text }}" in written.read_text()
    command(project, "dg", "check", "yaml")

    good = written.read_text()
    written.write_text(good.replace("prompt:", "promptt:"))
    wrong = command(project, "dg", "check", "yaml", fails=True)
    line = next(number for number, one in enumerate(good.splitlines(), 1) if "prompt:" in one)
    assert f"defs.yaml:{line}" in wrong
    assert "attributes.promptt" in wrong
    written.write_text(good)

    (project / "src/shop/defs/counted.py").write_text(DOWNSTREAM)
    command(project, "dg", "check", "defs")
    listed = command(project, "dg", "list", "defs", "--json")
    for name in ("reviews/results", "reviews_launch", "reviews_poll_jobs", "few_failures", "counted"):
        assert name in listed

    monkeypatch.setenv("PYTHONPATH", str(project / "src"))
    monkeypatch.chdir(project)
    with (
        running(tmp_path / "home", module="shop.definitions", speed=1000, poll_seconds=1) as services,
        open_deployment(services.settings) as deployment,
    ):
        deployment.ledger.datasets.request("reviews", "d1", {}, launch=True)

        def published() -> str | None:
            row = deployment.ledger.datasets.get("reviews", "d1")
            return row.results_uri if row else None

        until(lambda: published() is not None, "it is published")
        uri = published()
        assert uri is not None
        table = pa_dataset.dataset(file_uri(services.endpoints, uri), format="parquet").to_table()
    assert set(table["status"].to_pylist()) == {"succeeded"}
    assert table.num_rows == 120
