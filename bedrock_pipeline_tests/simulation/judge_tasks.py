"""What is promised of the tasks of a queue.

What belongs here: one function for each promise. Nothing of the product is imported.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bedrock_pipeline_tests.simulation.evidence import Evidence, answer_to, prompt_of

_Found = Iterator[tuple[str, int | None]]


@dataclass(frozen=True)
class Accepted:
    """A task whose transaction was committed.

    Attributes:
        step: of the commit.
    """

    record_id: str
    prompt: str
    step: int


def accepted_tasks(evidence: Evidence) -> list[Accepted]:
    """The tasks that are in the queue or were, in the order of their commits, also where no acknowledgement arrived."""
    steps = _commits_of_tasks(evidence)
    found = [
        Accepted(one["record_id"], one["prompt"], steps[line.task])
        for line in evidence.history
        if "tasks" in line.facts and line.task in steps and not evidence.was_lost(steps[line.task])
        for one in line.facts["tasks"]
    ]
    return sorted(found, key=lambda one: one.step)


def _commits_of_tasks(evidence: Evidence) -> dict[str, int]:
    """The step at which tasks were committed, by what the process was doing."""
    inserted, steps = dict[str, bool](), dict[str, int]()
    for line in evidence.history:
        if line.what.startswith("INSERT INTO bedrock_pipeline.tasks"):
            inserted[line.task] = line.how == "ok"
        elif line.what == "COMMIT" and inserted.get(line.task) and line.how in ("ok", "answer lost"):
            steps.setdefault(line.task, line.ended)
        elif line.what == "ROLLBACK":
            inserted[line.task] = False
        elif "tasks" in line.facts and line.how == "ok" and line.task not in inserted:
            steps.setdefault(line.task, line.ended)  # by the simulation itself, which nothing stops
    return steps


def tasks_end(evidence: Evidence) -> _Found:
    """Each accepted task is in one job, or waits and that has a name; each job ends, or waits and that has a name."""
    where = _jobs_by_prompt(evidence)
    waiting = {one["prompt"] for one in evidence.tasks}
    accepted = accepted_tasks(evidence)
    for number, task in enumerate(accepted):
        jobs = where.get(task.prompt, [])
        if len(jobs) > 1:
            yield f"task {task.record_id} is in {len(jobs)} jobs: {', '.join(jobs)}", task.step
        elif jobs and task.prompt in waiting:
            yield f"task {task.record_id} is in job {jobs[0]} and waits again", task.step
        elif not jobs and task.prompt not in waiting:
            later = [one for one in accepted[number + 1 :] if one.record_id == task.record_id]
            if not (evidence.replaces_tasks and later):
                yield f"task {task.record_id} was accepted and is nowhere", task.step
    steps = _commits_of_tasks(evidence)
    for line in evidence.history:
        if "tasks" in line.facts and line.how == "ok" and line.task not in steps:
            yield f"{line.who} has an acknowledgement of tasks that were not committed", line.ended
        if "DuplicateTaskError" in line.facts.get("error", ()) and line.task in steps:
            yield f"{line.who} had tasks rejected as duplicates that were committed", line.ended
    if evidence.settled and len(waiting) >= evidence.fewest_tasks:
        yield f"{len(waiting)} tasks wait, and are not flushed", None
    for job in evidence.queue_jobs:
        if evidence.settled and not job["final"] and not job["waits"]:
            yield f"job {job['chunk_key']} is not final, and waits for nothing", None


def bought_once(evidence: Evidence) -> _Found:
    """Nothing is in a job that was not accepted, and no answer is bought twice."""
    accepted = Counter(one.prompt for one in accepted_tasks(evidence))
    for prompt, jobs in _jobs_by_prompt(evidence).items():
        if not accepted[prompt]:
            yield f"{prompt!r} is in job {jobs[0]}, and was never accepted", None
    answered: dict[str, set[str]] = defaultdict(set)
    for job in _jobs(evidence):
        for prompt in _answered(evidence, job):
            answered[prompt].add(job["jobName"])
    for prompt, names in answered.items():
        if len(names) > 1:
            yield f"{prompt!r} was answered by {len(names)} jobs", None


def results_of_tasks(evidence: Evidence) -> _Found:
    """A job's results are those of its tasks, each once, with the answer to it, and never change."""
    inputs = {prompt: jobs[0] for prompt, jobs in _jobs_by_prompt(evidence).items()}
    by_job: dict[str, dict[str, str]] = defaultdict(dict)
    for one in accepted_tasks(evidence):
        if one.prompt in inputs:
            by_job[inputs[one.prompt]][one.record_id] = one.prompt
    paid = {prompt for job in _jobs(evidence) for prompt in _answered(evidence, job)}
    final = {job["job_id"]: job for job in evidence.queue_jobs if job["final"]}
    for job in final.values():
        asked, rows = by_job[job["chunk_key"]], job["results"]
        if Counter(row["record_id"] for row in rows) != Counter(asked.keys()):
            yield f"the results of {job['chunk_key']} have other records than its tasks", None
            continue
        for row in rows:
            prompt = asked[row["record_id"]]
            if row["error"] is None and row["text"] != answer_to(prompt):
                yield f"{row['record_id']} of {job['chunk_key']} has the answer to another task", None
            if row["error"] is not None and prompt in paid:
                yield (
                    f"the answer of {row['record_id']} of {job['chunk_key']} was paid for and not read",
                    None,
                )
    for line in evidence.history:
        job = final.get(line.facts.get("job_id", ""), {})
        if "results" in line.facts and job and line.facts["results"] != job["results"]:
            yield f"{line.who} has read other results of {job['chunk_key']} than those of the end", line.ended


def published_tasks(evidence: Evidence, uri: str) -> str | None:
    """How the published rows of a queue's day differ from what was asked; None where they do not."""
    prompts: dict[str, set[str]] = defaultdict(set)
    for line in evidence.history:
        for one in line.facts.get("tasks", ()):
            prompts[one["record_id"]].add(answer_to(one["prompt"]))
    seen: Counter[tuple[str, str]] = Counter()
    for row in evidence.published(uri):
        if row["status"] == "succeeded":
            if row["output_text"] not in prompts[row["record_id"]]:
                return f"{row['record_id']} has the answer to another task"
            seen[row["record_id"], row["output_text"]] += 1
    twice = sorted(one for (one, _), count in seen.items() if count > 1)
    return f"the same answer of {', '.join(twice)} is there more than once" if twice else None


def _jobs_by_prompt(evidence: Evidence) -> dict[str, list[str]]:
    """The chunks of first attempts by the prompts in their input."""
    found: dict[str, list[str]] = {}
    for chunk in evidence.chunks:
        if chunk["pipeline"] != evidence.queue or chunk["attempt"] > 1:
            continue
        lines = [
            json.loads(line) for file in chunk["files"] for line in evidence.object(file["uri"]).splitlines()
        ]
        for prompt in sorted(
            {prompt_of(line["modelInput"]) for line in lines}
        ):  # a filler repeats another line
            found.setdefault(prompt, []).append(chunk["chunk_key"])
    return found


def _jobs(evidence: Evidence) -> list[dict[str, Any]]:
    """The jobs that the queue's chunks have."""
    known = {chunk["job_arn"] for chunk in evidence.chunks if chunk["pipeline"] == evidence.queue}
    return [job for job in evidence.jobs if job["jobArn"] in known]


def _answered(evidence: Evidence, job: dict[str, Any]) -> set[str]:
    """The prompts that a job has answered, but for one that a filler repeats: which of both it was is not known."""
    ids: dict[str, set[Any]] = defaultdict(set)
    answers = set()
    for line in evidence.output(job):
        if line.get("modelInput"):
            prompt = prompt_of(line["modelInput"])
            ids[prompt].add(line.get("recordId"))
            if line.get("modelOutput"):
                answers.add(prompt)
    return {prompt for prompt in answers if len(ids[prompt]) == 1}
