"""Every example of docs/inputs.md is run: its input is made, its pipeline driven to the published results."""

import re
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bedrock_pipeline.carry_out import carry_out
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WITHOUT_CODE, due_work
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.read_results import open_results
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline_tests.docs.pages import ROOT
from bedrock_pipeline_tests.waiting import PATIENCE_S

SECTIONS: dict[str, list[str]] = {
    title: re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for title, _, text in (
        section.partition("\n")
        for section in (ROOT / "docs/inputs.md").read_text(encoding="utf-8").split("\n## ")[1:]
    )
}
#: The records of each: a carried column, or else the id, in order.
RECORDS: dict[str, tuple[str, list[Any]]] = {
    "A folder of gzip files": ("record_id", [f"{day}-{n}" for day in ("mon", "tue") for n in range(3)]),
    "A CSV file of a European spreadsheet": ("Preis", [0.45, 1.99, 3.5]),
    "A folder that Spark has written": ("country", ["de"] * 3 + ["fr"] * 3),
    "Images of Hugging Face": ("caption", ["a cat", "a dog", "a dot"]),
    "A Delta table, in and out": ("record_id", ["r0", "r1", "r2"]),
    "An Iceberg table, in and out": ("record_id", ["r0", "r1", "r2", "r3"]),
}


def publish(deployment: Deployment, one: Pipeline, dataset: str = "d") -> pa.Table:
    """From the launch to the results of a dataset."""
    deployment.ledger.datasets.request(one.name, dataset, {}, launch=True)
    take_snapshot(deployment, one, dataset)
    pack_dataset(deployment, one, dataset)
    deadline = time.monotonic() + PATIENCE_S
    while deployment.ledger.datasets.ensure(one.name, dataset).state != "published":
        assert time.monotonic() < deadline
        poll_jobs(deployment)
        for item in due_work(deployment.ledger, [one], limit=50, kinds=WITHOUT_CODE):
            carry_out(deployment, one, item)
    return open_results(deployment, one.name, dataset).to_table()


def test_every_example_is_run() -> None:
    assert SECTIONS.keys() == RECORDS.keys()


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_does_what_the_page_says(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("URI", "WAREHOUSE"):  # set by an example; removed with the test
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{name}", "")
    first, *then = SECTIONS[title]
    names: dict[str, Any] = {}
    exec(compile(first, title, "exec"), names)  # noqa: S102  # of this repository
    column, expected = RECORDS[title]
    results = publish(deployment, names["pipeline"])
    assert set(results["status"].to_pylist()) == {"succeeded"}
    assert sorted(results[column].to_pylist()) == expected
    for block in then:
        exec(compile(block, title, "exec"), names)  # noqa: S102  # of this repository
        assert sorted(names["answers"]["record_id"].to_pylist()) == sorted(results["record_id"].to_pylist())
