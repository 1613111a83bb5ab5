"""Commands about queues and jobs."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline_tests.queue.test_queue import CLAUDE, task


def run(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, words, input=given)


def lines(count: int) -> str:
    tasks = [task(number) for number in range(count)]
    return "".join(json.dumps({"recordId": t.record_id, "modelInput": t.model_input}) + "\n" for t in tasks)


def test_where_tasks_are_that_became_a_job_and_for_how_long_a_job_was_awaited(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    (tmp_path / "tasks.jsonl").write_text(lines(100))
    added = run("enqueue", str(tmp_path / "tasks.jsonl"), "--queue", "q", "--model", CLAUDE)
    assert added.stdout == "100 tasks added to q; 0 wait\n"
    assert "bedrock-pipeline status q" in added.stderr
    [job] = json.loads(run("status", "q", "--json").stdout)["jobs"]
    control.add_fault("error", operation="CreateModelInvocationJob", error="ThrottlingException")
    waited = run("wait", job["job_id"], "--timeout", "2.5")
    assert waited.exit_code == 1
    assert f"Not final within 2.5 s: {job['job_id']}." in waited.stderr


def test_replacing_is_for_one_call_and_a_byte_order_mark_is_no_part_of_a_task(deployment: Deployment) -> None:
    words = ("enqueue", "-", "--queue", "q", "--model", CLAUDE)
    assert run(*words, given="\ufeff" + lines(2)).exit_code == 0
    assert run(*words, "--replace", given=lines(2)).exit_code == 0
    again = run(*words, given=lines(2))
    assert again.exit_code == 1
    assert "task-0" in again.stderr
    assert json.loads(run("status", "q", "--json").stdout)["waiting"] == 2


def test_jobs_of_several_queues_are_awaited(deployment: Deployment) -> None:
    jobs = []
    for name in ("one", "two"):
        assert run("enqueue", "-", "--queue", name, "--model", CLAUDE, given=lines(3)).exit_code == 0
        jobs += json.loads(run("flush", name, "--json").stdout)["jobs"]
    waited = run("wait", *jobs, "--json", "--timeout", "300")
    assert waited.exit_code == 0
    assert [(job["job_id"], job["final"]) for job in json.loads(waited.stdout)] == [
        (job, True) for job in jobs
    ]


def test_tasks_become_a_job_and_its_results_a_file(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text(lines(60))
    first = run(
        "enqueue", str(tmp_path / "tasks.jsonl"), "--queue", "q", "--model", CLAUDE, "--batch-size", "1000"
    )
    assert first.stdout == "60 tasks added to q; 60 wait\n"
    assert "60 tasks of queue q wait for the next flush: bedrock-pipeline flush q" in " ".join(
        run("status").stdout.split()
    )
    more = lines(100).splitlines(keepends=True)[60:]
    second = run("enqueue", "-", "--queue", "q", "--json", given="".join(more))
    assert json.loads(second.stdout) == {"queue": "q", "added": 40, "waiting": 100}
    assert json.loads(run("status", "q", "--json").stdout) == {"queue": "q", "waiting": 100, "jobs": []}
    flushed = json.loads(run("flush", "q", "--json").stdout)
    [job] = flushed["jobs"]
    assert flushed["waiting"] == 0
    [shown] = json.loads(run("status", job, "--json").stdout)
    assert (shown["status"], shown["record_count"], shown["final"]) == ("queued", 100, False)
    assert [row["state"] for row in json.loads(run("status", "--json").stdout)] == ["packed"]
    assert "not every record is final" in run("results", job, "--out", str(tmp_path / "r.jsonl")).stderr
    waited = run("wait", job, "--json", "--timeout", "60")
    assert waited.exit_code == 0
    assert [(one["job_id"], one["status"]) for one in json.loads(waited.stdout)] == [(job, "completed")]
    [day] = json.loads(run("status", "--json").stdout)
    assert (day["state"], day["next"]) == ("final", None), (
        "nothing of it is to be done, and Dagster publishes it later"
    )
    of_queue = json.loads(run("status", "q", "--json").stdout)
    assert (of_queue["queue"], of_queue["waiting"]) == ("q", 0)
    assert [one["answered"] for one in of_queue["jobs"]] == [100]
    assert run("status", "q").exit_code == 0
    assert (
        run("results", job, "--out", str(tmp_path / "r.jsonl")).stdout
        == f"100 rows in {tmp_path / 'r.jsonl'}\n"
    )
    ids = {json.loads(line)["record_id"] for line in (tmp_path / "r.jsonl").read_text().splitlines()}
    assert ids == {f"task-{number}" for number in range(100)}
    written = run("results", job, "--out", str(tmp_path / "r.parquet"), "--json")
    assert json.loads(written.stdout)["rows"] == 100
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 100
    again = run("flush", "q")
    assert again.stdout == ""
    assert "no task waits; those in jobs: bedrock-pipeline status q" in again.stderr


def test_waiting_for_a_cancelled_job_reports_that_it_failed(deployment: Deployment) -> None:
    run("enqueue", "-", "--queue", "q", "--model", CLAUDE, "--batch-size", "1000", given=lines(100))
    job = run("flush", "q").stdout.strip()
    assert json.loads(run("cancel", job, "--json").stdout) == {"cancelled": {"stopped": 1}}
    waited = run("wait", job)
    assert waited.exit_code == 1
    assert "stopped" in waited.output


def test_a_job_that_bedrock_rejected_is_submitted_again(deployment: Deployment) -> None:
    run(
        "enqueue",
        "-",
        "--queue",
        "q",
        "--model",
        "anthropic.unknown",
        "--batch-size",
        "1000",
        given=lines(100),
    )
    job = run("flush", "q").stdout.strip()
    waited = run("wait", job)
    assert waited.exit_code == 1
    assert "not supported" in waited.stderr
    assert json.loads(run("retry", job, "--json").stdout)["rejected"] == 1
    assert json.loads(run("status", job, "--json").stdout)[0]["detail"] == "pending"


def test_a_body_that_the_catalog_does_not_know_is_taken_if_that_is_wanted(deployment: Deployment) -> None:
    body = '{"recordId": "a", "modelInput": {"anthropic_version": "bedrock-2023-05-31", "messages": []}}'
    words = ("enqueue", "-", "--queue", "q", "--model", CLAUDE)
    rejected = run(*words, given=body)
    assert rejected.exit_code == 1
    assert "--no-check-model" in rejected.stderr
    assert run(*words, "--no-check-model", given=body).stdout == "1 tasks added to q; 1 wait\n"


@pytest.mark.parametrize(
    ("words", "given", "message"),
    [
        (("enqueue", "-", "--queue", "new"), "{}", "needs --model"),
        (("enqueue", "-", "--queue", "new", "--model", CLAUDE), "no json", "line 1 is not JSON"),
        (("enqueue", "-", "--queue", "new", "--model", CLAUDE), "[1]", "line 1 is not a JSON object"),
        (
            ("enqueue", "-", "--queue", "new", "--model", CLAUDE),
            '{"recordId": "a"}',
            "model_input: it is missing",
        ),
        (("flush", "absent"), None, "no queue 'absent'"),
        (("wait", "absent"), None, "no job 'absent'"),
        (("status", "00000000-0000-0000-0000-000000000000"), None, "no job"),
        (("cancel", "absent"), None, "no job 'absent'"),
        (("retry", "absent"), None, "no job 'absent'"),
        (("results", "absent", "--out", "r.parquet"), None, "no job 'absent'"),
    ],
)
def test_a_mistake_is_reported_without_a_traceback(
    deployment: Deployment, words: tuple[str, ...], given: str | None, message: str
) -> None:
    done = run(*words, given=given)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("last", "reported"),
    [
        ("no JSON", ["task: line 2501 is not JSON."]),
        ('{"recordId": "x", "modelInput": {}}', ["model_input: it is empty.", "It is task 2501."]),
    ],
)
def test_after_an_invalid_task_it_says_which_it_is_and_how_many_are_in_the_queue(
    deployment: Deployment, tmp_path: Path, last: str, reported: list[str]
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(f"{lines(2_500)}{last}\n")
    result = run("enqueue", str(file), "--queue", "q", "--model", CLAUDE, "--batch-size", "9999")
    assert result.exit_code == 1
    waiting = deployment.ledger.tasks.size("q")
    assert 0 < waiting < 2_500
    for line in [*reported, f"{waiting} tasks of this call were added before."]:
        assert line in result.stderr
