"""A process dies by SIGKILL before and after every effect; whatever is left, the next one finishes it."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as pa_dataset
import pytest

from bedrock_pipeline.aws.filesystem import arrow_filesystem
from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.stages.context import Context
from bedrock_pipeline_tests.faults.points import NOT_KILLED_YET, READS, SCENARIOS
from bedrock_pipeline_tests.faults.worker import ROOMS, Death, move_clock, run

RECORDS, SLOTS = 350, 2
#: How many points the recovering process passes before it dies too; None lets it live.
SECOND_DEATHS = (None, 0, 2)


def trials() -> Iterator[Any]:
    for scenario, effects in SCENARIOS.items():
        for effect in effects:
            for after in (False, True):
                for second in SECOND_DEATHS:
                    side = "after" if after else "before"
                    name = f"{scenario}: {side} {effect}" + ("" if second is None else f", again at {second}")
                    yield pytest.param(scenario, effect, after, second, id=name)


def test_every_effect_is_a_crash_point() -> None:
    """A new method of the ledger, of S3 or of Bedrock must be listed: as an effect or as harmless."""
    ledger = Ledger.__new__(Ledger)
    Ledger.__init__(ledger, "host=127.0.0.1 port=1")
    kinds: dict[str, type] = {"objects": S3Objects, "jobs": BedrockJobs}
    kinds |= {name: type(getattr(ledger, room)) for room, name in ROOMS.items()}
    there = {
        f"{name}.{method}"
        for name, kind in kinds.items()
        for method in vars(kind)
        if not method.startswith("_") and method not in READS[name]
    }
    killed = {effect for effects in SCENARIOS.values() for effect in effects}
    assert there == killed | set(NOT_KILLED_YET)


@pytest.mark.faults
@pytest.mark.parametrize(("scenario", "effect", "after", "second"), list(trials()))
def test_a_death_loses_nothing_and_pays_nothing_twice(
    context: Context,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    scenario: str,
    effect: str,
    after: bool,
    second: int | None,
) -> None:
    settings = context.settings.model_copy(update={"lease_s": 10, "settling_s": 0})
    one, log = _pipeline(tmp_path), tmp_path / "worker.log"
    kills = int(run(settings, one, scenario, first=True, death=Death(effect, after), log=log))
    assert kills == 1, "the point was never reached"
    if second is not None:
        move_clock(context, 3600)
        kills += run(settings, one, scenario, first=False, death=Death(None, passed=second), log=log)
    move_clock(context, 3600)
    run(settings, one, scenario, first=False, death=None, log=log)
    jobs = _jobs(stack_endpoints, settings.bucket)
    names = Counter(job["jobName"] for job in jobs)
    chunks = context.ledger.chunks.of_dataset(one.name, "d", 1)
    ids = Counter(_published_ids(context, one))
    entry: dict[str, object] = {
        "point": f"{'after' if after else 'before'} {effect}",
        "scenario": scenario,
        "second_death": second,
        "kills": kills,
        "jobs_created": len(jobs),
        "chunks_submitted": sum(1 for chunk in chunks if chunk.job_arn),
        "records_lost": len({f"r{n}" for n in range(RECORDS)} - set(ids)),
        "paid_twice": sum(count - 1 for count in names.values()),
    }
    report.append(entry)
    assert entry["records_lost"] == entry["paid_twice"] == 0
    assert ids.total() == RECORDS, "a record is in the results twice"
    assert {job["jobArn"] for job in jobs} == {chunk.job_arn for chunk in chunks if chunk.job_arn}
    assert all(chunk.ended_at and chunk.collected_at for chunk in chunks), "a slot is still held"
    _no_leftover_objects(context, one)


def _pipeline(folder: Path) -> Pipeline:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(RECORDS)))
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=100, max_records=200, max_jobs=SLOTS),
        }
    )


def _jobs(endpoints: Endpoints, bucket: str) -> list[dict[str, Any]]:
    """Every job of this bucket, from the emulator's own record; no more than the slots ran at once."""
    with urllib.request.urlopen(f"{endpoints.bedrock_endpoint_url}/_emulator/jobs") as answer:
        known = json.load(answer)
    return [job for job in known["jobs"] if f"s3://{bucket}/" in json.dumps(job)]


def _published_ids(context: Context, one: Pipeline) -> list[str]:
    row = context.ledger.datasets.get(one.name, "d")
    assert row is not None
    assert row.results_uri is not None
    table = pa_dataset.dataset(
        row.results_uri.removeprefix("s3://").rstrip("/"),
        filesystem=arrow_filesystem(context.settings),
        format="parquet",
    ).to_table(columns=["record_id"])
    ids: list[str] = table["record_id"].to_pylist()
    return ids


def _no_leftover_objects(context: Context, one: Pipeline) -> None:
    """Beneath the results there is nothing but whole parquet files and the pointer."""
    results = context.settings.uri(context.settings.results_prefix, one.name, "d", "")
    strange = [
        item.uri
        for item in context.objects.list(results)
        if not item.uri.endswith((".parquet", "/latest.json"))
    ]
    assert not strange
