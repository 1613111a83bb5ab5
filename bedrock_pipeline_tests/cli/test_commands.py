"""The commands, over the real Postgres, S3 and emulator."""

import json
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import Requeued, Submitted, submit_chunk
from bedrock_pipeline.throttle_backoff import ThrottleBackoff


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def pipeline_of_rows(folder: Path) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
            "source": str(folder / "rows.jsonl"),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=100, max_records=200, max_file_bytes=100_000),
        }
    )


def prepared(
    deployment: Deployment, folder: Path, count: int = 350, unfit: Sequence[str | None] = ()
) -> list[str]:
    """A dataset `d` of pipeline `p`, packed; its chunk keys."""
    texts = [*(f"secret {n}" for n in range(count)), *unfit]
    lines = (json.dumps({"id": f"r{n}", "text": text}) + "\n" for n, text in enumerate(texts))
    (folder / "rows.jsonl").write_text("".join(lines))
    one = pipeline_of_rows(folder)
    take_snapshot(deployment, one, "d")
    return [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]


def test_launch_is_a_row_that_status_shows(deployment: Deployment) -> None:
    assert run("launch", "p", "d", "--input", "rows.csv", "--prompt", "{{ a }}").exit_code == 0
    shown = json.loads(run("status", "--json").stdout)
    assert [(row["pipeline"], row["dataset"], row["results"]) for row in shown] == [("p", "d", None)]


def test_a_preparation_that_failed_keeps_its_reason_and_says_how_it_goes_on(deployment: Deployment) -> None:
    run("launch", "p", "d", "--input", "rows.csv", "--prompt", "{{ a }}")
    assert "0 rejected chunks" in run("retry", "p", "d").stdout, (
        "what is about to be prepared has nothing to repeat"
    )
    begun = deployment.ledger.datasets.ensure("p", "d")
    deployment.ledger.datasets.fail_preparation(begun, begun.launch_id, "there is no such column")
    assert "bedrock-pipeline launch p d" in run("retry", "p", "d").stderr
    [row] = json.loads(run("status", "--json").stdout)
    assert (row["state"], row["why"].startswith("there is no such column. ")) == ("failed", True)
    page = json.loads(run("status", "p", "d", "--json").stdout)
    assert page == {
        **row,
        "chunks": [],
        "versions": [
            {
                **{key: page["versions"][0][key] for key in ("since", "settings")},
                "version": 1,
                "state": "failed",
                "why": "there is no such column",
                "jobs": 0,
                "in_flight": 0,
                "cost_usd": None,
            }
        ],
    }
    for words in (("results", "p", "d"), ("show", "p", "d"), ("show", "p", "d", "--rejected")):
        said = run(*words)
        assert (said.exit_code, "it is failed: there is no such column." in said.stderr) == (1, True)


def test_status_of_a_dataset_says_what_each_chunk_waits_for(deployment: Deployment, tmp_path: Path) -> None:
    first, second = prepared(deployment, tmp_path)
    assert isinstance(submit_chunk(deployment, "p", first), Submitted)
    shown = run("status", "p", "d", "--json").stdout
    assert {row["chunk"]: row["status"] for row in json.loads(shown)["chunks"]} == {
        first: "queued",
        second: "pending",
    }
    assert "secret" not in shown


def test_what_an_operator_decides_is_shown_before_what_passes_with_time(
    deployment: Deployment, tmp_path: Path
) -> None:
    """On the page of the dataset and in the overview alike: the reason, and the command that goes on."""
    first, second = prepared(deployment, tmp_path)
    database = deployment.ledger.database
    database.execute(
        """UPDATE bedrock_pipeline.chunks SET requeued_since = now(), requeue_reason = 'too many requests',
                  next_attempt_at = bedrock_pipeline.now() + interval '1 hour' WHERE chunk_key = %s""",
        (first,),
    )
    for words in (("status",), ("status", "p", "d")):
        assert re.search(
            r"waits until \d\d:\d\d:\d\d UTC: (1 requeued: )?too many requests", run(*words).output
        )
    database.execute(
        "UPDATE bedrock_pipeline.versions SET max_cost_usd = 0.000001 WHERE pipeline = 'p' AND dataset = 'd'"
    )
    for words in (("status",), ("status", "p", "d")):
        shown = run(*words).output
        assert "bedrock-pipeline approve p d --up-to 0." in shown
        assert "too many requests" not in shown
    database.execute(
        """UPDATE bedrock_pipeline.chunks SET status = 'failed', status_message = 'AccessDeniedException: no access',
                  ended_at = bedrock_pipeline.now() WHERE chunk_key = %s""",
        (second,),
    )
    for words in (("status",), ("status", "p", "d")):
        shown = " ".join(run(*words).output.split())
        assert (
            "AccessDeniedException: no access. Once the cause is fixed: bedrock-pipeline retry p d" in shown
        )


def test_status_lists_the_rejected_rows(deployment: Deployment, tmp_path: Path) -> None:
    prepared(deployment, tmp_path, unfit=[None, None, "secret " * 20_000])
    [row] = json.loads(run("status", "p", "--json").stdout)
    assert (row["records"], row["rejected"]) == (350, 3)
    shown = run("status", "p", "d").output
    assert "3 rows of the input rejected" in shown
    [command] = re.findall(r"bedrock-pipeline (show .*)", shown)
    listed = [json.loads(line) for line in run(*command.split(), "--json").stdout.splitlines()]
    assert [(one["record_id"], one["reason"]) for one in listed] == [
        ("r350", "column 'text' is null"),
        ("r351", "column 'text' is null"),
        ("r352", "the record is larger than a file may be (100000 bytes)"),
    ]
    assert "secret" not in shown


def test_status_says_why_a_chunk_waits_and_until_when(
    deployment: Deployment, tmp_path: Path, control: Control
) -> None:
    first, second = prepared(deployment, tmp_path)
    name = deployment.ledger.chunks.by_key("p", first).request["jobName"]
    control.add_fault("error", error="ThrottlingException", job_name=name, times=1)
    patient = ThrottleBackoff(base_delay_ms=600_000)  # the wait is not over before it is looked at
    slow = replace(deployment, settings=deployment.settings.model_copy(update={"throttle_backoff": patient}))
    assert isinstance(submit_chunk(slow, "p", first), Requeued)
    control.clear_faults()
    chunks = {row["chunk"]: row for row in json.loads(run("status", "p", "d", "--json").stdout)["chunks"]}
    for key in (first, second):  # the throttled one, and the other, since their quota group waits
        assert chunks[key]["status"] == "pending"
        assert chunks[key]["why"].startswith("ThrottlingException")
        assert chunks[key]["until"]
    [row] = json.loads(run("status", "--json").stdout)
    assert row["why"].startswith("1 requeued: ThrottlingException")
    assert row["until"] == chunks[first]["until"]
    assert "waits until" in run("status").stdout
    deployment.ledger.database.execute(
        "UPDATE bedrock_pipeline.chunks SET next_attempt_at = bedrock_pipeline.now() - interval '1 minute' "
        "WHERE chunk_key = %s",
        (first,),
    )
    page = json.loads(run("status", "p", "d", "--json").stdout)
    group = chunks[second]["until"]
    assert [page["until"], *(chunk["until"] for chunk in page["chunks"])] == [group] * 3, (
        "its own time is over, and its quota group still waits"
    )
    deployment.ledger.database.execute(
        "UPDATE bedrock_pipeline.chunks SET requeued_since = NULL, requeue_reason = NULL"
    )
    [row] = json.loads(run("status", "--json").stdout)
    assert (row["why"].startswith("ThrottlingException"), row["until"]) == (True, group), (
        "no chunk of it was throttled itself, and all wait for the group"
    )
    deployment.ledger.database.execute(
        "UPDATE bedrock_pipeline.quota_groups SET backoff_until = bedrock_pipeline.now() - interval '1 second'"
    )
    assert "waits until" not in run("status", "p", "d").stdout, "no time that has passed is shown"


def test_status_lists_orphans(deployment: Deployment, tmp_path: Path) -> None:
    prepared(deployment, tmp_path)
    arn = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/aaaaaaaaaaaa"
    deployment.ledger.interventions.record_orphans(
        [{"job_arn": arn, "job_name": "p-x", "status": "InProgress", "submitted_at": "2026-01-01T00:00:00Z"}]
    )
    shown = run("status").stdout
    assert f"Job {arn} (InProgress) carries this deployment's name and is no chunk's job" in " ".join(
        shown.split()
    )
    assert max(map(len, shown.splitlines())) <= 80


def test_cancel_ends_what_waits_and_stops_what_runs(deployment: Deployment, tmp_path: Path) -> None:
    first, _ = prepared(deployment, tmp_path)
    assert isinstance(submit_chunk(deployment, "p", first), Submitted)
    assert run("cancel", "p", "d").stdout.startswith("cancelled: ")
    while poll_jobs(deployment).in_flight:
        pass
    states = {row["status"] for row in json.loads(run("status", "p", "d", "--json").stdout)["chunks"]}
    assert states <= {"stopped", "completed"}
    assert run("cancel", "p", "d").stdout == "nothing to cancel\n"


def test_status_says_what_happens_next_where_nothing_is_waited_for(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Of a dataset in the overview and on its own page alike, from the launch to the publication."""

    def shown() -> list[str]:
        return [" ".join(run(*words).stdout.split()) for words in (("status",), ("status", "p", "d"))]

    deployment.ledger.served_pipelines.seen(["p"])
    run("launch", "p", "d")
    assert all("Dagster is about to read its input" in text for text in shown())
    keys = prepared(deployment, tmp_path)
    for key in keys:
        assert isinstance(submit_chunk(deployment, "p", key), Submitted)
    assert not any("about to" in text for text in shown()), "Bedrock works"
    while poll_jobs(deployment).in_flight:
        pass
    overview, page = shown()
    assert "chunks that have ended: 2; their responses are about to be read" in overview
    assert page.count("it has ended; its responses are about to be read") == 2
    one = pipeline_of_rows(tmp_path)
    for key in keys:
        collect_chunk(deployment, one, key)
    assert all("its results are about to be published" in text for text in shown())


def test_results_of_a_capped_dataset_say_how_it_goes_on(deployment: Deployment, tmp_path: Path) -> None:
    prepared(deployment, tmp_path)
    deployment.ledger.database.execute("UPDATE bedrock_pipeline.versions SET max_cost_usd = 0.000001")
    for words in (("results", "p", "d"), ("show", "p", "d")):
        done = run(*words)
        assert (done.exit_code, "is not published yet: p d may cost" in done.stderr) == (1, True)
        assert "bedrock-pipeline approve p d --up-to" in done.stderr


def test_reconcile_has_nothing_to_say_when_ledger_and_service_agree(
    deployment: Deployment, tmp_path: Path
) -> None:
    first, _ = prepared(deployment, tmp_path)
    assert isinstance(submit_chunk(deployment, "p", first), Submitted)
    told = json.loads(run("reconcile", "--json").stdout)
    assert told["adopted"] == [] == told["orphans"]


ESTIMATED = {
    "cut_off_cost_usd",
    "records",
    "bytes",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "on_demand_cost_usd",
    "jobs",
    "waves",
    "counted",
    "notes",
}


def test_a_file_is_estimated_without_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_HOME", str(tmp_path))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"{n} " * 50}) + "\n" for n in range(120)))
    asked = ("estimate", "--input", str(path), "--prompt", "{{ text }}", "--max-tokens", "10")
    told = json.loads(run(*asked, "--model", "amazon.nova-lite-v1:0", "--json").stdout)
    assert told.keys() == ESTIMATED
    assert (told["records"], told["output_tokens"], told["jobs"], told["waves"]) == (120, 1200, 1, 1)
    per_million = 0.03 * told["input_tokens"] + 0.12 * 1200
    assert told["cost_usd"] == pytest.approx(per_million / 1_000_000)
    unknown = run(
        "estimate", "--input", str(path), "--prompt", "{{ text }}", "--model", "cohere.embed-english-v3"
    )
    assert "no price known" in unknown.stdout
    assert "Give PIPELINE DATASET" in run("estimate", "--input", str(path)).stderr


def test_a_users_pipeline_is_estimated_and_its_cost_limit_is_raised(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_costly_pipelines.py").write_text(
        "from bedrock_pipeline.pipeline import Pipeline\n"
        'mine = Pipeline(name="p", model_id="amazon.nova-lite-v1:0", prompt="{{ text }}", max_cost_usd="0.001")\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = ("-m", "my_costly_pipelines", "--json")
    keys = prepared(deployment, tmp_path)
    told = json.loads(run("estimate", "p", "d", *module).stdout)
    assert (told.keys(), told["records"], told["jobs"]) == (ESTIMATED, 350, 2)
    fewer = json.loads(
        run(
            "estimate", "p", "d", "--input", str(tmp_path / "rows.jsonl"), "--max-tokens", "1", *module
        ).stdout
    )
    assert fewer["output_tokens"] == 350
    rows = ("--input", str(tmp_path / "rows.jsonl"))
    counted = json.loads(run("estimate", "p", "d", "--count-tokens", *rows, *module).stdout)["counted"]
    assert "does not count the tokens of amazon.nova-lite-v1:0" in counted["problem"]
    haiku = ("--model", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "--count-tokens")
    said = run("estimate", "p", "d", *haiku, *rows, *module[:2]).stdout
    assert re.search(
        r"counted +\d+ input tokens of 20 requests; the estimate from their text was \d+ \([+-]\d+ %\)", said
    )
    assert "has no pipeline 'q'" in run("estimate", "q", "d", *module).stderr
    assert "no max_cost_usd" in run("approve", "p", "d", "--up-to", "1").stderr

    deployment.ledger.database.execute("UPDATE bedrock_pipeline.versions SET max_cost_usd = 0.0001")
    assert isinstance(submit_chunk(deployment, "p", keys[0]), NotNow)
    chunks = json.loads(run("status", "p", "d", "--json").stdout)["chunks"]
    for rows in (chunks, json.loads(run("status", "p", "--json").stdout)):
        reasons = [row["why"] for row in rows]
        assert reasons
        assert all("bedrock-pipeline approve p d --up-to" in why for why in reasons)
    assert "d of p may cost $1.0000" in run("approve", "p", "d", "--up-to", "1").stdout
    assert isinstance(submit_chunk(deployment, "p", keys[0]), Submitted)
    assert {row["why"] for row in json.loads(run("status", "p", "d", "--json").stdout)["chunks"]} == {None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("launch", "p", "no spaces", "--input", "x"), "no spaces"),
        (("launch", "p", "a--b", "--input", "x"), "a--b"),
        (("results", "p", "absent"), "There is no pipeline"),
        (("resolve", "p", "absent--00000", "--no-job"), "There is no pipeline"),
        (("resolve", "p", "d--00000"), "Give either"),
    ],
)
def test_a_mistake_is_reported_without_a_traceback(
    deployment: Deployment, words: tuple[str, ...], message: str
) -> None:
    done = run(*words)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_an_unreachable_database_is_reported_without_its_password(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv(
            "BEDROCK_PIPELINE_DATABASE_DSN",
            f"host=127.0.0.1 port={port} user=u password=hidden-word dbname=d",
        )
        done = run("status")
    assert done.exit_code == 1
    assert "Postgres" in done.stderr
    assert "hidden-word" not in done.output
    assert "Traceback" not in done.output


def test_missing_configuration_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_HOME", str(tmp_path))
    done = run("status")
    assert done.exit_code == 1
    assert "bedrock-pipeline dev" in done.stderr
