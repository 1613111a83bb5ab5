"""The emulator in the test's own process: no socket, no thread, no sleep; what happens follows from the seed."""

import threading
from datetime import timedelta
from typing import Any

import orjson
import pytest

from bedrock_pipeline_tests.emulator.client import BUCKET, CLAUDE, claude, request
from bedrock_pipeline_tests.emulator.world import World


def scenario(seed: int, *faults: dict[str, Any]) -> World:
    """Three jobs, looked at while they run; one is stopped."""
    world = World(seed, *faults)
    for number in range(3):
        given = request("in/a.jsonl", jobName=f"job-{number}", clientRequestToken=f"token-{number}")
        world.call(world.bedrock.create_model_invocation_job, **given)
    body = orjson.dumps(claude("hello")).decode()
    world.call(world.runtime.invoke_model, modelId=CLAUDE, body=body)
    world.run(minutes=8)
    world.call(world.bedrock.list_model_invocation_jobs)
    jobs = world.emulator.store.active()
    if jobs:
        world.call(
            world.bedrock.stop_model_invocation_job, jobIdentifier=world.emulator.store.all()[0]["jobArn"]
        )
    world.run()
    world.call(world.bedrock.list_model_invocation_jobs)
    return world


FAULTS: list[dict[str, Any]] = [
    {"kind": "error", "error": "ThrottlingException", "rate": 0.3},
    {"kind": "answer_lost", "rate": 0.2},
    {"kind": "delay", "delay": 2.5, "rate": 0.5},
    {"kind": "record_error", "rate": 0.1},
    {"kind": "line_missing", "rate": 0.05},
    {"kind": "job_ends", "job_name": "job-2", "at": 0.5, "status": "PartiallyCompleted"},
]


@pytest.mark.parametrize("faults", [[], FAULTS], ids=["no faults", "faults"])
def test_the_same_seed_and_calls_give_the_same_bytes(faults: list[dict[str, Any]]) -> None:
    one, two, other = scenario(7, *faults), scenario(7, *faults), scenario(8, *faults)
    assert one.responses == two.responses
    assert one.objects == two.objects
    assert one.slept == two.slept
    assert one.emulator.store.all() == two.emulator.store.all()
    assert one.responses != other.responses
    if not faults:
        assert len(one.objects) == 1 + 3 * 2
        ids = [orjson.loads(line)["recordId"] for line in _output(one, "job-1")]
        assert sorted(ids) == sorted(f"r{n}" for n in range(450))
        assert ids != [orjson.loads(line)["recordId"] for line in _output(other, "job-1")]


@pytest.mark.parametrize("kind", ["error", "answer_lost", "record_error", "line_missing"])
def test_another_seed_gives_other_faults(kind: str) -> None:
    fault = {"kind": kind, "rate": 0.5}
    ends = {seed: scenario(seed, fault) for seed in (1, 2)}
    seen = [
        [type(response) is str for response in world.responses]
        + [[job["errorRecordCount"] for job in world.emulator.store.all()]]
        + [sorted(orjson.loads(line)["recordId"] for line in _output(world, "job-1"))]
        for world in ends.values()
    ]
    assert seen[0] != seen[1]


def test_steps_take_a_job_to_its_end_without_a_thread_or_a_sleep() -> None:
    world = World(1)
    threads = threading.active_count()
    arn = world.bedrock.create_model_invocation_job(**request("in/a.jsonl", jobName="a-job"))["jobArn"]
    seen: list[tuple[str, int]] = []
    while not seen or seen[-1][0] != "Completed":
        assert not world.emulator.step() or len(seen) < 100
        job = world.bedrock.get_model_invocation_job(jobIdentifier=arn)
        seen.append((job["status"], job["processedRecordCount"]))
        world.wall += timedelta(seconds=30)
    statuses = list(dict.fromkeys(status for status, _ in seen))
    assert statuses == ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]
    counts = [count for _, count in seen]
    assert counts == sorted(counts)
    assert len(set(counts)) > 10, "counts grow while the job runs"
    assert threading.active_count() == threads
    assert world.slept == []
    assert len(_output(world, "a-job")) == 450


def test_a_step_is_one_unit_of_each_job() -> None:
    world = World(1)
    for number in range(2):
        world.bedrock.create_model_invocation_job(**request("in/a.jsonl", jobName=f"job-{number}"))

    def statuses() -> list[str]:
        return [job["status"] for job in world.emulator.store.all()]

    assert not world.emulator.step()
    for after in (["Validating"] * 2, ["Scheduled"] * 2, ["InProgress"] * 2):
        world.wall += timedelta(hours=1)
        assert world.emulator.step()
        assert statuses() == after
    world.wall += timedelta(hours=1)
    for processed in (200, 400, 450):
        assert world.emulator.step()
        assert [job["processedRecordCount"] for job in world.emulator.store.all()] == [processed] * 2
    assert statuses() == ["Completed"] * 2
    assert not world.emulator.step()


def test_time_limits_and_lags_follow_the_clock_that_is_passed_in() -> None:
    world = World(
        1, {"kind": "error", "error": "ThrottlingException", "seconds": 60}, {"kind": "list_lag", "delay": 90}
    )
    world.call(world.bedrock.list_model_invocation_jobs)
    world.wall += timedelta(seconds=61)
    world.call(world.bedrock.create_model_invocation_job, **request("in/a.jsonl"))
    world.call(world.bedrock.list_model_invocation_jobs)
    world.wall += timedelta(seconds=91)
    world.call(world.bedrock.list_model_invocation_jobs)
    throttled, created, lagging, listed = world.responses
    assert "ThrottlingException" in throttled
    assert lagging["invocationJobSummaries"] == []
    assert [job["jobArn"] for job in listed["invocationJobSummaries"]] == [created["jobArn"]]
    assert listed["ResponseMetadata"]["HTTPHeaders"]["date"] == "Thu, 01 Jan 2026 00:02:32 GMT"


def _output(world: World, job_name: str) -> list[bytes]:
    job = next((job for job in world.emulator.store.all() if job["jobName"] == job_name), {"id": ""})
    return world.objects.get((BUCKET, f"out/{job['id']}/a.jsonl.out"), b"").splitlines()
