"""Decides from the evidence whether what is promised was kept.

What belongs here: one function for each promise. Nothing of the product is imported, so that a misunderstanding there
cannot hide here.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from bedrock_pipeline_tests.simulation.evidence import RESTORE, Evidence, answer_to, prompt_of
from bedrock_pipeline_tests.simulation.history import Line
from bedrock_pipeline_tests.simulation.judge_tasks import (
    bought_once,
    published_tasks,
    results_of_tasks,
    tasks_end,
)

#: Errors with which a task may end: the product's own, and what a cut connection gives.
_EXPECTED: Final = {"BedrockPipelineError", "OperationalError"}
_MINUTE_S: Final = 60.0
#: A job is submitted by its estimate, which may be a token or two short; a job too many is a tenth of a cap and more.
_ESTIMATES_OFF_BY: Final = 1.01


@dataclass(frozen=True)
class Violation:
    """A promise that was broken.

    Attributes:
        promise: which one.
        what: what happened.
        step: when, where that is known.
    """

    promise: str
    what: str
    step: int | None = None


def judged(evidence: Evidence) -> list[Violation]:
    """Every promise that was broken."""
    return [
        Violation(promise, what, step) for promise, check in CHECKS.items() for what, step in check(evidence)
    ]


_Found = Iterator[tuple[str, int | None]]


def one_job_per_chunk(evidence: Evidence) -> _Found:
    """No chunk has two jobs."""
    for name, count in Counter(job["jobName"] for job in evidence.jobs).items():
        if count > 1:
            yield f"{count} jobs are named {name}", _step_of(evidence, name)


def slots(evidence: Evidence) -> _Found:
    """Never more jobs in flight than the limit; those that a restored ledger has yet to find are not counted."""
    flying: set[str] = set()
    known = {row["job_arn"] for row in evidence.chunks}
    forgotten = {job["id"] for job in evidence.jobs if job["jobArn"] not in known}
    for line in evidence.history:
        if line.what == RESTORE:
            flying -= forgotten
        if "made" in line.facts:
            if evidence.was_lost(line.ended):
                forgotten.add(line.facts["made"])
            flying.add(line.facts["made"])
            if len(flying) > evidence.max_jobs:
                yield f"{len(flying)} jobs are in flight, {evidence.max_jobs} may be", line.ended
                return
        flying.discard(line.facts.get("job", ""))


def not_bought_after_the_end(evidence: Evidence) -> _Found:
    """Nothing is bought of what was replaced or cancelled before its submission began."""
    versions = {_name_part(row["chunk_id"]): row for row in evidence.chunks}
    commits = evidence.commits()
    launches = evidence.accepted_launches()
    for line in evidence.history:
        if "made" not in line.facts:
            continue
        chunk = next((row for part, row in versions.items() if part in line.facts["job_name"]), None)
        if chunk is None and evidence.restore and line.ended <= evidence.restore[1]:
            continue  # lost with the restore; see `no_job_is_lost`
        if chunk is None:
            yield f"job {line.facts['job_name']} is of a chunk that was replaced", line.ended
            continue
        begun = _intent_began(evidence, line)
        for other in launches:
            version = other.facts.get("version", 0) if other.facts["launch"] == chunk["dataset"] else 0
            if version > chunk["version"] and commits[other.task].ended < begun:
                yield (
                    f"{chunk['chunk_key']} was bought, though {other.who} had launched version {version}",
                    line.ended,
                )
                break
        for other in evidence.history:
            if other.facts.get("cancel") not in (chunk["dataset"], chunk["chunk_key"]) or other.how != "ok":
                continue
            commit = commits.get(other.task)
            if commit and evidence.was_lost(commit.ended):
                continue
            revived = any(
                commit and commits[one.task].ended > commit.began and one.began < line.ended
                for one in launches
            )
            if commit and commit.ended < begun and not revived:
                yield f"{chunk['chunk_key']} was bought, though {other.who} had cancelled it", line.ended
                break


def published_rows(evidence: Evidence) -> _Found:
    """Each record of a published version is there once, with the answer to its own request."""
    asked = [one for line in evidence.accepted_launches(lost=True) for one in line.facts["asked"]]
    for uri, step in _named(evidence).items():
        if evidence.queue and f"/{evidence.queue}/" in uri:
            if problem := published_tasks(evidence, uri):
                yield f"{uri}: {problem}", step
            continue
        rows = evidence.published(uri)
        ids = Counter(row["record_id"] for row in rows)
        twice = sorted(one for one, count in ids.items() if count > 1)
        if twice:
            yield f"{uri} has {', '.join(twice)} more than once", step
            continue
        problems = [_difference(rows, one) for one in asked]
        if problems and all(problems):
            yield f"{uri} is of no launch: {min(filter(None, problems), key=len)}", step


def _difference(rows: list[dict[str, Any]], asked: dict[str, str]) -> str | None:
    """How rows differ from what a launch asked; None where they do not."""
    ids = {row["record_id"] for row in rows}
    if ids != asked.keys():
        return f"{len(asked.keys() - ids)} records are missing, {len(ids - asked.keys())} are too many"
    wrong = [
        row["record_id"]
        for row in rows
        if row["status"] == "succeeded" and row["output_text"] != answer_to(asked[row["record_id"]])
    ]
    return f"the answers of {', '.join(sorted(wrong))} are to other requests" if wrong else None


def published_never_changes(evidence: Evidence) -> _Found:
    """What a pointer has named stays as it was."""
    content: dict[str, str | None] = {}
    frozen: dict[str, str] = {}
    for line in evidence.history:
        key = line.facts.get("key")
        if key is None:
            continue
        folder = next((one for one in frozen if key.startswith(one)), None)
        if folder and content.get(key) != line.facts["content"]:
            yield f"{key} was changed by {line.who}; it was published", line.ended
            return
        content[key] = line.facts["content"]
        if "names" in line.facts:
            frozen.setdefault(line.facts["names"].removeprefix("s3://").partition("/")[2], line.who)


def launches_end(evidence: Evidence) -> _Found:
    """The last accepted launch ends in its publication, was cancelled, or waits for something that has a name."""
    launches = evidence.accepted_launches()
    for row in evidence.datasets:
        mine = [line for line in launches if line.facts["launch"] == row["dataset"]]
        if not mine or row["cancelled"]:
            continue
        if row["state"] == "failed":
            if not mine[-1].facts.get("wrong"):
                yield f"what {mine[-1].who} launched last has failed: {row['reason']}", mine[-1].ended
            continue
        if row["state"] == "requested":
            yield f"what {mine[-1].who} launched last was never prepared", mine[-1].ended
            continue
        if evidence.waits.get(row["dataset"]):
            continue
        if mine[-1].facts.get("wrong"):
            yield f"what {mine[-1].who} launched last has no input, and has not failed", mine[-1].ended
        elif row["results_uri"] is None:
            yield f"dataset {row['dataset']} is not published, and waits for nothing", mine[-1].ended
        else:
            rows = evidence.published(row["results_uri"])
            problems = [_difference(rows, one) for one in mine[-1].facts["asked"]]
            if all(problems):
                yield (
                    f"what {mine[-1].who} launched last is not what is published: {problems[0]}",
                    mine[-1].ended,
                )


def paid_answers_are_read(evidence: Evidence) -> _Found:
    """No record of the published version failed whose answer was paid for."""
    current = {row["dataset"]: row for row in evidence.datasets if row["results_uri"]}
    of_version = {
        _name_part(chunk["chunk_id"])
        for chunk in evidence.chunks
        if (row := current.get(chunk["dataset"])) and row["published_version"] == chunk["version"]
    }
    answered = {
        prompt_of(line["modelInput"])
        for job in evidence.jobs
        if any(part in job["jobName"] for part in of_version)
        for line in evidence.output(job)
        if "modelOutput" in line and line["modelInput"]
    }
    for row in current.values():
        rows = evidence.published(row["results_uri"])
        for asked in (one for launch in evidence.accepted_launches() for one in launch.facts["asked"]):
            if _difference(rows, asked):
                continue
            lost = [
                one["record_id"]
                for one in rows
                if one["status"] != "succeeded" and asked[one["record_id"]] in answered
            ]
            if lost:
                yield f"the answers of {', '.join(sorted(lost))} were paid for and not read", None
            break


def no_job_is_lost(evidence: Evidence) -> _Found:
    """Each job is a chunk's, and its end is known."""
    known = {row["job_arn"]: row for row in evidence.chunks if row["job_arn"]}
    for job in evidence.jobs:
        if job["jobArn"] not in known and not (evidence.restore and job["jobArn"] in evidence.orphans):
            yield f"job {job['jobName']} belongs to no chunk", _step_of(evidence, job["jobName"])
    for row in evidence.chunks:
        if row["job_arn"] and not row["ended"]:
            yield f"{row['chunk_key']} holds a slot ({row['status']}), though everything has ended", None


def cap(evidence: Evidence) -> _Found:
    """What a version's jobs cost is not above its cap, but for what their estimates may be off by."""
    for row in evidence.datasets:
        limit = evidence.caps.get(row["dataset"])
        if limit is None:
            continue
        chunks = [chunk for chunk in evidence.chunks if chunk["dataset"] == row["dataset"]]
        for version in sorted({chunk["version"] for chunk in chunks}):
            ids = [_name_part(chunk["chunk_id"]) for chunk in chunks if chunk["version"] == version]
            spent = 0.0
            for line in evidence.history:
                if "made" not in line.facts or not any(one in line.facts["job_name"] for one in ids):
                    continue
                spent += sum(
                    evidence.cost_of(job) for job in evidence.jobs if job["id"] == line.facts["made"]
                )
                most = max([limit, *_approved(evidence, row["dataset"], line)])
                if spent > most * _ESTIMATES_OFF_BY:
                    yield f"version {version} cost ${spent:.9f}, it may cost ${most:.9f}", line.ended
                    break


def _approved(evidence: Evidence, dataset: str, create: Line) -> Iterator[float]:
    """US dollars that an operator had approved before a Create, of whatever version."""
    commits = evidence.commits()
    for line in evidence.history:
        if (
            line.facts.get("approve") == dataset
            and line.task in commits
            and commits[line.task].began <= create.ended
        ):
            yield line.facts["up_to"]


def only_expected_errors(evidence: Evidence) -> _Found:
    """No task ends with an error that is not meant for a user."""
    for line in evidence.history:
        if "error" in line.facts and not _EXPECTED.intersection(line.facts["error"]):
            yield f"{line.who} {line.what}: {line.how}: {line.facts['message']}", line.ended


def one_line_a_minute(evidence: Evidence) -> _Found:
    """A daemon reports a service that is away once a minute at most."""
    last: dict[tuple[str, str], float] = {}
    for line in evidence.history:
        if "away" in line.facts:
            key = (line.who, line.facts["away"])
            if line.at - last.get(key, float("-inf")) < _MINUTE_S:
                yield (
                    f"{line.who} reports {line.facts['away']} again after {line.at - last[key]:.1f} s",
                    line.ended,
                )
            last[key] = line.at


def progress(evidence: Evidence) -> _Found:
    """Everything comes to its end once faults have stopped."""
    if not evidence.settled:
        yield "things still change after faults have stopped", None


CHECKS: Final[dict[str, Callable[[Evidence], _Found]]] = {
    "at most one job per chunk": one_job_per_chunk,
    "never more jobs in flight than the limit": slots,
    "nothing is bought of what was replaced or cancelled": not_bought_after_the_end,
    "each record once, with the answer to its request": published_rows,
    "published versions never change": published_never_changes,
    "each launch ends": launches_end,
    "what was paid for is read": paid_answers_are_read,
    "no job is lost": no_job_is_lost,
    "a cost cap holds": cap,
    "each task ends": tasks_end,
    "no task is bought twice": bought_once,
    "results belong to their tasks": results_of_tasks,
    "only expected errors": only_expected_errors,
    "an outage is one line a minute": one_line_a_minute,
    "progress": progress,
}


def _named(evidence: Evidence) -> dict[str, int | None]:
    """Every folder that a pointer named, and when first."""
    found: dict[str, int | None] = {}
    for line in evidence.history:
        if "names" in line.facts:
            found.setdefault(line.facts["names"], line.ended)
    for row in evidence.datasets:
        if row["results_uri"]:
            found.setdefault(row["results_uri"], None)
    return found


def _intent_began(evidence: Evidence, create: Line) -> int:
    """The step with which the transaction began in which this Create was intended."""
    intended, begun = create.began, None
    for line in evidence.history:
        if line.task != create.task or line.ended >= create.began:
            continue
        if line.what == "COMMIT":
            intended, begun = begun or line.began, None
        elif line.what == "ROLLBACK":
            begun = None
        elif begun is None and _is_statement(line):
            begun = line.began
    return intended


def _is_statement(line: Line) -> bool:
    return line.what.split(" ", 1)[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def _name_part(chunk_id: object) -> str:
    """What the name of a chunk's job contains."""
    return str(chunk_id)


def _step_of(evidence: Evidence, job_name: str) -> int | None:
    steps = [line.ended for line in evidence.history if line.facts.get("job_name") == job_name]
    return steps[-1] if steps else None
