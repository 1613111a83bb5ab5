"""The demo of a file that has changed says how many of its records are new, and that all are asked."""

import json
from decimal import Decimal
from pathlib import Path

from click.testing import CliRunner

from bedrock_pipeline.cli.demo_changes import earlier, what_is_asked
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.frozen_settings import freeze
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.writer import write_snapshot
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import open_location


def snapshot(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)))
    one = Pipeline(
        name="p",
        model_id="amazon.nova-lite-v1:0",
        record_id="id",
        prompt="{{ text }}",
        ask_identical_once=True,
    )
    with RejectionWriter(folder / "rejected.jsonl") as rejected:
        source = open_location(str(file), objects=None)  # type: ignore[arg-type]  # a local file
        write_snapshot(source, SnapshotPlan.of(one), folder, rejected)
    return folder


def test_a_changed_file(tmp_path: Path) -> None:
    before = snapshot(tmp_path / "before", ["a", "b", "c", "a"])
    now = snapshot(tmp_path / "now", ["a", "B", "c", "a", "new", "new"])
    first = list(what_is_asked(before, None, "", None, sent=3))
    assert first == ["3 records are sent. At Bedrock: the price is unknown; the emulator costs nothing."]
    asked, new = what_is_asked(now, before, "rows-1", Decimal("0.25"), sent=4)
    assert asked == "4 records are sent. At Bedrock: about $0.2500; the emulator costs nothing."
    noted = list(what_is_asked(before, None, "", None, sent=3, notes=["By its limit."], columns=["text"]))
    assert noted[1:] == ["By its limit."]
    assert new.startswith("2 of them are new or changed since dataset rows-1; the others are sent again")


def test_empty_texts_are_noted_as_estimate_notes_them(tmp_path: Path) -> None:
    """Of duplicates too, which are in files of their own."""
    folder = snapshot(tmp_path / "now", ["a", "", "", "b"])
    said = list(what_is_asked(folder, None, "", None, sent=3, columns=["text"]))
    words = "estimate --json --model amazon.nova-lite-v1:0 --prompt {{text}} --input"
    done = CliRunner().invoke(cli, [*words.split(), str(folder / "rows.jsonl")])
    notes = json.loads(done.stdout)["notes"]
    assert said[1].startswith("Records with an empty text in column 'text' of the prompt: 2;")
    assert said[1] in notes


def test_the_earlier_dataset_is_one_of_the_same_request(deployment: Deployment) -> None:
    datasets = deployment.ledger.datasets
    requests = {"d1": {"source": "a"}, "d2": {"source": "b"}, "d3": {"source": "a"}, "d4": {"source": "a"}}
    for key, request in requests.items():
        datasets.request("p", key, request, launch=True)
    row = datasets.ensure("p", "d4")
    assert earlier(datasets.recent(["p"]), row) is None  # none of them was read
    for key in ("d1", "d2", "d3"):
        deployment.ledger.database.execute(
            """UPDATE bedrock_pipeline.versions SET snapshot_uri = 's3://b/s', snapshot_hash = 'h', snapshot_records = 1,
                      snapshot_rejected = 0, state = 'snapshotted', settings_digest = %s WHERE dataset = %s""",
            (_frozen(deployment), key),
        )
    found = earlier(datasets.recent(["p"]), row)
    assert found is not None
    assert found.dataset == "d3"


def _frozen(deployment: Deployment) -> str:
    settings = freeze(Pipeline(name="p", model_id="amazon.nova-lite-v1:0", prompt="{{ text }}"))
    deployment.ledger.versions.keep_settings(settings)
    return settings.digest
