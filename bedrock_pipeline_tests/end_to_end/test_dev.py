"""`dev` with a user's module, in which an asset of the user's own reads the results."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bedrock_pipeline_tests.waiting import PATIENCE_S, until

_MODULE = """
import json
from pathlib import Path

import dagster as dg
import pandas as pd
from bedrock_pipeline import Pipeline, build_definitions
from bedrock_pipeline.orchestration.names import Names

reviews = Pipeline(name="reviews", model_id="amazon.nova-micro-v1:0", prompt="{{ text }}", source="rows.jsonl", record_id="id")
names = Names("reviews")


@dg.asset(
    ins={"results": dg.AssetIn(names.asset("results"))},
    partitions_def=names.datasets,
    automation_condition=dg.AutomationCondition.eager(),
)
def review_counts(results: pd.DataFrame) -> None:
    counted = results["status"].value_counts().to_dict()
    Path(__file__).with_name("counted.new").write_text(json.dumps(counted))
    Path(__file__).with_name("counted.new").rename(Path(__file__).with_name("counted"))


defs = build_definitions([reviews], downstream=[review_counts])
"""


@contextmanager
def dev(folder: Path, variables: dict[str, str], log: Path) -> Iterator[None]:
    """`dev` for the length of the block; it ends by itself after Ctrl-C."""
    command = [
        sys.executable,
        "-m",
        "bedrock_pipeline",
        "dev",
        "--module",
        "mine",
        "--speed",
        "1000",
        "--port",
        "0",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


@pytest.mark.end_to_end
def test_an_asset_without_an_executor_of_its_own_reads_what_is_published(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(_MODULE)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"id": "r{n}", "text": "t{n}"}}\n' for n in range(3)))
    variables = {**os.environ, "BEDROCK_PIPELINE_HOME": str(tmp_path / "home")}
    log = tmp_path / "dev.log"

    def launched() -> bool:
        command = [sys.executable, "-m", "bedrock_pipeline", "launch", "reviews", "d1"]
        return (
            subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, check=False).returncode
            == 0
        )

    with dev(tmp_path, variables, log):
        until(launched, log.read_text, step=2)
        until((tmp_path / "counted").exists, log.read_text, step=1)
    assert (tmp_path / "counted").read_text() == '{"succeeded": 3}'
