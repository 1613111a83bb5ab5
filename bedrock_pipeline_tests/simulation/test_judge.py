"""The judge finds each promise broken, in evidence made up for it, and nothing where all are kept."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bedrock_pipeline
from bedrock_pipeline_tests.faults.mutants import MUTANTS
from bedrock_pipeline_tests.simulation.evidence import BACKUP, RESTORE, Evidence, answer_to
from bedrock_pipeline_tests.simulation.history import History, Line
from bedrock_pipeline_tests.simulation.judge import CHECKS, judged, slots
from bedrock_pipeline_tests.simulation.roots import ROOTS

URI, FOLDER = "s3://b/results/p/d/v1-1-x/", "results/p/d/v1-1-x/"
OUTPUT = "out/j1/x.jsonl.out"
CHUNK = "00000000-0000-0000-0000-00000000000a"
ASKED = {"r0": "about a0", "r1": "about a1"}


@pytest.mark.parametrize(
    "replaced",
    [
        *[pytest.param(one.replaced, id=one.name) for one in ROOTS],
        *[pytest.param({one.file: one.replaced}, id=one.name) for one in MUTANTS],
    ],
)
def test_what_is_taken_out_to_be_found_is_there(replaced: dict[str, dict[str, str]]) -> None:
    """The targets that take it out are run seldom."""
    root = Path(bedrock_pipeline.__file__).parents[1]
    missing = [
        text for file, texts in replaced.items() for text in texts if text not in (root / file).read_text()
    ]
    assert missing == []


def part(rows: dict[str, str], **changes: Any) -> bytes:
    """Published rows: record id and what was asked."""
    columns = [
        {"record_id": one, "status": "succeeded", "output_text": answer_to(prompt), **changes}
        for one, prompt in rows.items()
    ]
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(columns), written)
    return written.getvalue()


def line(number: int, who: str, what: str, how: str = "ok", **facts: Any) -> Line:
    return Line(number, number, float(number), who, f"{who}/1", what, how, facts)


def good() -> Evidence:
    """A launch, its only job, and its publication."""
    job = {
        "id": "j1",
        "jobArn": "arn/j1",
        "jobName": f"p-{CHUNK}",
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/out/"}},
    }
    output = "".join(
        json.dumps(
            {
                "recordId": one,
                "modelInput": {"messages": [{"role": "user", "content": prompt}]},
                "modelOutput": {"usage": {"input_tokens": 10, "output_tokens": 10}},
            }
        )
        + "\n"
        for one, prompt in ASKED.items()
    )
    lines = [
        line(1, "user", "INSERT INTO bedrock_pipeline.datasets"),
        line(2, "user", "COMMIT"),
        line(2, "user", "ends to launch a", launch="d", asked=[ASKED], version=1),
        line(5, "daemon", "SELECT * FROM bedrock_pipeline.chunks"),
        line(6, "daemon", "COMMIT"),
        line(7, "daemon", f"CreateJob p-{CHUNK}", made="j1", job_name=f"p-{CHUNK}"),
        line(9, "Bedrock", "Completed", job="j1", status="Completed"),
        line(11, "daemon", f"PUT {FOLDER}part-0.parquet", key=f"{FOLDER}part-0.parquet", content="1"),
        line(12, "daemon", "PUT latest", key="results/p/d/latest.json", content="2", names=URI),
    ]
    return Evidence(
        history=History(lines),
        jobs=[job],
        objects={("b", f"{FOLDER}part-0.parquet"): part(ASKED), ("b", OUTPUT): output.encode()},
        datasets=[
            {
                "dataset": "d",
                "version": 1,
                "state": "published",
                "reason": None,
                "published_version": 1,
                "results_uri": URI,
                "cancelled": False,
            }
        ],
        chunks=[
            {
                "chunk_id": CHUNK,
                "pipeline": "p",
                "dataset": "d",
                "attempt": 1,
                "files": [],
                "chunk_key": "d--00000",
                "version": 1,
                "status": "completed",
                "job_arn": "arn/j1",
                "ended": True,
            }
        ],
        waits={},
        max_jobs=1,
        caps={"d": 1.0},
        prices=(0.001, 0.001),
        settled=True,
    )


def with_lines(*more: Line) -> Evidence:
    evidence = good()
    lines = sorted([*evidence.history.lines, *more], key=lambda one: one.ended)
    return replace(evidence, history=History(lines))


def with_rows(content: bytes) -> Evidence:
    evidence = good()
    return replace(evidence, objects={**evidence.objects, ("b", f"{FOLDER}part-0.parquet"): content})


def second_job(evidence: Evidence, name: str) -> Evidence:
    return replace(evidence, jobs=[*evidence.jobs, {**evidence.jobs[0], "id": "j2", "jobName": name}])


def good_queue() -> Evidence:
    """Two tasks that a program added, in a job, with its results; and a third, which waits for one more."""
    asked = {"t0": "task t0", "t1": "task t1"}
    inputs = "".join(_input_line(one, prompt) + "\n" for one, prompt in asked.items())
    evidence = good()
    output = (
        evidence.objects["b", "out/j1/x.jsonl.out"]
        .replace(b"about a", b"task t")
        .replace(b'"r0"', b'"t0"')
        .replace(b'"r1"', b'"t1"')
    )
    history = [
        line(1, "program", "INSERT INTO bedrock_pipeline.tasks (queue, record_id"),
        line(2, "program", "COMMIT", "answer lost"),
        line(3, "program", "ends to enqueue", tasks=[_task(one, prompt) for one, prompt in asked.items()]),
        line(3, "other", "INSERT INTO bedrock_pipeline.tasks (queue, record_id"),
        line(4, "other", "COMMIT"),
        line(5, "other", "ends to enqueue", tasks=[_task("t2", "task t2")]),
        line(7, "worker", f"CreateJob p-{CHUNK}", made="j1", job_name=f"p-{CHUNK}"),
        line(9, "Bedrock", "Completed", job="j1", status="Completed"),
    ]
    results = [{"record_id": one, "text": answer_to(prompt), "error": None} for one, prompt in asked.items()]
    return replace(
        evidence,
        history=History(history),
        objects={("b", "in/x.jsonl"): inputs.encode(), ("b", OUTPUT): output},
        datasets=[],
        chunks=[{**evidence.chunks[0], "pipeline": "q", "files": [{"uri": "s3://b/in/x.jsonl"}]}],
        queue="q",
        tasks=[_task("t2", "task t2")],
        queue_jobs=[
            {"job_id": CHUNK, "chunk_key": "d--00000", "final": True, "waits": None, "results": results}
        ],
        fewest_tasks=2,
    )


def _task(record_id: str, prompt: str) -> dict[str, str]:
    return {"record_id": record_id, "prompt": prompt}


def _input_line(record_id: str, prompt: str) -> str:
    return json.dumps(
        {"recordId": record_id, "modelInput": {"messages": [{"role": "user", "content": prompt}]}}
    )


def queue_with(*more: Line, **changes: Any) -> Evidence:
    evidence = good_queue()
    lines = sorted([*evidence.history.lines, *more], key=lambda one: one.ended)
    return replace(evidence, history=History(lines), **changes)


def with_results(**changes: Any) -> Evidence:
    """The results of t0 are others."""
    [job] = good_queue().queue_jobs
    first, *others = job["results"]
    return queue_with(queue_jobs=[{**job, "results": [{**first, **changes}, *others]}])


def lost_job(orphans: list[str]) -> Evidence:
    """A job whose chunk is not in the backup that was restored."""
    evidence = second_job(good(), "p-lost")
    lines = [line(13, "operator", BACKUP), line(14, "d2", "x", made="j2", job_name="p-lost")]
    lines += [line(15, "Bedrock", "Completed", job="j2"), line(16, "operator", RESTORE)]
    jobs = [evidence.jobs[0], {**evidence.jobs[1], "jobArn": "arn/j2"}]
    return replace(with_lines(*lines), jobs=jobs, orphans=orphans)


BROKEN: dict[str, list[Callable[[], Evidence]]] = {
    "at most one job per chunk": [lambda: second_job(good(), f"p-{CHUNK}")],
    "never more jobs in flight than the limit": [
        lambda: with_lines(line(8, "clicker", "CreateJob", made="j2", job_name=f"p-{CHUNK}"))
    ],
    "nothing is bought of what was replaced or cancelled": [
        lambda: with_lines(
            line(3, "user2", "COMMIT"),
            line(4, "user2", "ends to launch b", launch="d", asked=[{"r0": "about b0"}], version=2),
        ),
        lambda: with_lines(
            line(3, "operator", "COMMIT"), line(4, "operator", "ends to cancel d", cancel="d")
        ),
        lambda: replace(good(), chunks=[]),
    ],
    "each record once, with the answer to its request": [
        lambda: with_rows(part({"r0": "about a0", "r1": "about b1"})),
        lambda: with_rows(part({"r0": "about a0"})),
        lambda: with_rows(part({**ASKED, "r2": "about a2"})),
        lambda: replace(
            good(), objects={**good().objects, ("b", f"{FOLDER}part-1.parquet"): part({"r0": "about a0"})}
        ),
    ],
    "published versions never change": [
        lambda: with_lines(line(13, "late", "PUT", key=f"{FOLDER}part-0.parquet", content="3")),
        lambda: with_lines(line(13, "late", "DELETE", key=f"{FOLDER}part-0.parquet", content=None)),
        lambda: with_lines(line(13, "late", "PUT", key=f"{FOLDER}part-9.parquet", content="4")),
    ],
    "each launch ends": [
        lambda: replace(
            good(),
            datasets=[{**good().datasets[0], "state": "failed", "reason": "absent.jsonl is not there"}],
        ),
        lambda: replace(good(), datasets=[{**good().datasets[0], "results_uri": None}]),
        lambda: replace(
            good(),
            datasets=[{**good().datasets[0], "state": "requested", "results_uri": None}],
            waits={"d": ["a launch"]},
        ),
        lambda: with_lines(
            line(14, "user2", "COMMIT"),
            line(14, "user2", "ends to launch b", launch="d", asked=[{"r0": "about b0"}], version=2),
        ),
    ],
    "what was paid for is read": [lambda: with_rows(part(ASKED, status="failed"))],
    "no job is lost": [
        lambda: lost_job([]),
        lambda: replace(good(), chunks=[{**good().chunks[0], "job_arn": None}]),
        lambda: replace(good(), chunks=[{**good().chunks[0], "ended": False}]),
    ],
    "a cost cap holds": [
        lambda: replace(good(), caps={"d": 0.039}),
        lambda: replace(
            with_lines(line(8, "operator", "ends to approve", approve="d", up_to=1.0)), caps={"d": 0.039}
        ),
    ],
    "each task ends": [
        lambda: queue_with(tasks=[]),
        lambda: queue_with(tasks=[*good_queue().tasks, _task("t0", "task t0")]),
        lambda: queue_with(tasks=[*good_queue().tasks, _task("t3", "task t3")]),
        lambda: queue_with(
            chunks=[good_queue().chunks[0], {**good_queue().chunks[0], "chunk_id": "x", "job_arn": None}]
        ),
        lambda: queue_with(queue_jobs=[{**good_queue().queue_jobs[0], "final": False}]),
        lambda: queue_with(
            line(6, "third", "INSERT INTO bedrock_pipeline.tasks"),
            line(7, "third", "ends to enqueue", tasks=[_task("t3", "task t3")]),
        ),
    ],
    "no task is bought twice": [
        lambda: replace(good_queue(), history=History(good_queue().history.lines[3:])),
        lambda: queue_with(
            jobs=[good_queue().jobs[0], {**good_queue().jobs[0], "jobName": "again"}],
        ),
    ],
    "results belong to their tasks": [
        lambda: with_results(text=answer_to("task t1")),
        lambda: with_results(record_id="t1"),
        lambda: with_results(text=None, error="cancelled"),
        lambda: queue_with(line(12, "program", "ends to read", job_id=CHUNK, results=[])),
    ],
    "an outage is one line a minute": [
        lambda: with_lines(
            line(3, "daemon", "ends to poll", "AwsError", away="NoConnection"),
            line(9, "daemon", "ends to poll", "AwsError", away="NoConnection"),
        )
    ],
    "only expected errors": [
        lambda: with_lines(line(3, "daemon", "ends to poll", "KeyError", error=["KeyError"], message="x"))
    ],
    "progress": [lambda: replace(good(), settled=False)],
}


@pytest.mark.parametrize("evidence", [good(), good_queue()], ids=["a dataset", "a queue"])
def test_where_all_is_well_nothing_is_found(evidence: Evidence) -> None:
    assert judged(evidence) == []


def test_each_promise_has_a_case() -> None:
    assert BROKEN.keys() == CHECKS.keys()


@pytest.mark.parametrize(
    ("promise", "number"), [(name, n) for name, cases in BROKEN.items() for n in range(len(cases))]
)
def test_a_broken_promise_is_found(promise: str, number: int) -> None:
    assert promise in [one.promise for one in judged(BROKEN[promise][number]())]


@pytest.mark.parametrize(
    "evidence",
    [
        replace(good(), datasets=[{**good().datasets[0], "results_uri": None}], waits={"d": ["a cap"]}),
        replace(good(), datasets=[{**good().datasets[0], "results_uri": None, "cancelled": True}]),
        with_lines(line(7, "operator", "COMMIT"), line(8, "operator", "ends to cancel d", cancel="d")),
        with_rows(part(ASKED)),
        replace(
            with_lines(
                line(4, "operator", "COMMIT"),
                line(4, "operator", "ends to approve", approve="d", up_to=1.0),
            ),
            caps={"d": 0.039},
        ),
        replace(
            good(),
            caps={"d": 0.04},
            objects={
                key: 2 * content if key[1] == OUTPUT else content for key, content in good().objects.items()
            },
        ),
        queue_with(
            line(1, "earlier", "ends to enqueue", tasks=[_task("t2", "task t2 before")]), replaces_tasks=True
        ),
        lost_job(["arn/j2"]),
        with_lines(
            line(13, "operator", BACKUP),
            line(14, "user2", "ends to launch b", launch="d", asked=[{"r0": "about b0"}], version=2),
            line(16, "operator", RESTORE),
        ),
    ],
    ids=[
        "a named wait",
        "cancelled",
        "cancelled after the intent",
        "written again with the same content",
        "approved before",
        "a line of output that is there twice",
        "a task that was replaced",
        "a job that a restore made an orphan",
        "a launch that a restore has lost",
    ],
)
def test_what_is_promised_otherwise_is_no_violation(evidence: Evidence) -> None:
    assert judged(evidence) == []


@pytest.mark.parametrize(("since_backup", "broken"), [(True, False), (False, True)])
def test_a_job_that_a_restored_ledger_has_yet_to_find_takes_no_slot(
    *, since_backup: bool, broken: bool
) -> None:
    backup, made = line(13, "operator", BACKUP), line(14, "d2", "CreateJob", made="j2", job_name="p-2")
    evidence = with_lines(
        *([backup, made] if since_backup else [replace(made, ended=12), backup]),
        line(15, "operator", RESTORE),
        line(16, "d2", "CreateJob", made="j3", job_name="p-3"),
    )
    arns = [{"id": name, "jobArn": f"arn/{name}"} for name in ("j2", "j3")]
    found = slots(replace(evidence, jobs=arns, chunks=[{"job_arn": one["jobArn"]} for one in arns]))
    assert bool(list(found)) is broken
