"""A version is frozen: whatever is launched, deployed or cancelled meanwhile, it is finished by what it was launched with."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import BaseModel, field_validator

from bedrock_pipeline.collect.collect_chunk import AnswerClassMissingError, collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.ledger.datasets import Datasets, QueueDayError
from bedrock_pipeline.ledger.versions import DatasetChangedError, VersionReplacedError
from bedrock_pipeline.orchestration.build import build_definitions
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import during_an_upload, finish, pipeline, rows_file
from bedrock_pipeline_tests.waiting import until

_TWO_CHUNKS = Limits(min_records=50, max_records=110, max_jobs=20)


def _titled(folder: Path) -> Path:
    """220 rows with 110 titles, each with a text of its own."""
    rows = [{"id": f"r{n}", "title": f"T{n % 110}", "text": f"Text {n}"} for n in range(220)]
    return rows_file(folder / "titled.jsonl", rows)


@pytest.mark.parametrize("step", ["snapshot", "pack"])
def test_a_launch_while_an_earlier_one_is_prepared_is_the_one_that_is_bought(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    one = pipeline(tmp_path, [])
    files = {
        name: rows_file(
            tmp_path / f"{name}.jsonl", [{"id": f"{name}{n}", "text": name, "n": n} for n in range(120)]
        )
        for name in "ab"
    }
    datasets = deployment.ledger.datasets

    def launch(name: str) -> None:
        datasets.request("p", "d", {"source": str(files[name])}, launch=True)

    launch("a")
    if step == "pack":
        take_snapshot(deployment, one, "d")
    during_an_upload(monkeypatch, deployment, lambda: launch("b"))
    with pytest.raises(VersionReplacedError, match="replaced by version 2"):
        (take_snapshot if step == "snapshot" else pack_dataset)(deployment, one, "d")
    assert [row.version for row in datasets.to_launch(["p"], 9)] == [2]
    assert deployment.ledger.submissions.due(["p"], 9) == []
    rows = finish(deployment, one)
    assert {row["record_id"][0] for row in rows} == {"b"}
    assert {row["dataset_version"] for row in rows} == {2}
    assert [one.state for one in deployment.ledger.versions.history("p", "d")] == ["published", "replaced"]


def test_a_launch_of_the_same_file_while_it_is_packed_is_not_lost(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content may be another by now: only a run that begins after the launch can know."""
    one = pipeline(tmp_path, ["old"] * 120)
    datasets = deployment.ledger.datasets
    datasets.request("p", "d", {}, launch=True)
    take_snapshot(deployment, one, "d")
    pipeline(tmp_path, ["new"] * 120)
    during_an_upload(monkeypatch, deployment, lambda: datasets.request("p", "d", {}, launch=True))
    pack_dataset(deployment, one, "d")
    assert [row.dataset for row in datasets.to_launch(["p"], 9)] == ["d"]
    assert not take_snapshot(deployment, one, "d").unchanged
    pack_dataset(deployment, one, "d")
    assert datasets.to_launch(["p"], 9) == []
    row = datasets.get("p", "d")
    assert row is not None
    assert row.version == 2
    datasets.request("p", "d", {}, launch=True)
    assert take_snapshot(deployment, one, "d").unchanged
    pack_dataset(deployment, one, "d")
    assert datasets.to_launch(["p"], 9) == []


def test_the_failure_of_a_launch_does_not_end_a_later_one(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pipeline(tmp_path, ["x"] * 120)
    wrong = rows_file(tmp_path / "wrong.jsonl", [{"id": "a", "txt": "A"}])
    datasets = deployment.ledger.datasets
    datasets.request("p", "d", {"source": str(wrong)}, launch=True)
    begin = Datasets.begin_preparation

    def beginning(this: Datasets, *key: str) -> Any:
        row = begin(this, *key)
        datasets.request("p", "d", {}, launch=True)  # corrected while the first is read
        return row

    monkeypatch.setattr(Datasets, "begin_preparation", beginning)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("p_datasets", ["d"])
        job = build_definitions([one]).resolve_job_def("p_prepare")
        assert not job.execute_in_process(instance=instance, partition_key="d", raise_on_error=False).success
    assert [row.version for row in datasets.to_launch(["p"], 9)] == [2]
    states = [one.state for one in deployment.ledger.versions.history("p", "d")]
    assert states == ["requested", "replaced"]


def test_a_run_whose_version_was_replaced_ends_green_and_without_a_result(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pipeline(tmp_path, ["x"] * 120)
    datasets = deployment.ledger.datasets
    begin = Datasets.begin_preparation

    def beginning(this: Datasets, *key: str) -> Any:
        row = begin(this, *key)
        datasets.request("p", "d", {"system": "Be brief."}, launch=True)
        return row

    monkeypatch.setattr(Datasets, "begin_preparation", beginning)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("p_datasets", ["d"])
        job = build_definitions([one]).resolve_job_def("p_prepare")
        assert job.execute_in_process(instance=instance, partition_key="d").success
        for asset in ("input_dataset", "batch_chunks"):
            assert not instance.get_materialized_partitions(dg.AssetKey(["p", asset]))
    assert [row.version for row in datasets.to_launch(["p"], 9)] == [2]


@pytest.mark.parametrize("equal", [False, True], ids=["fewer rows", "as many rows"])
def test_another_snapshot_ends_the_chunks_of_the_last_one(
    deployment: Deployment, tmp_path: Path, equal: bool
) -> None:
    """400 rows with 130 texts: 270 duplicates, which must not meet the answers of another snapshot."""
    one = pipeline(tmp_path, [f"Number {n % 130}" for n in range(400)])
    take_snapshot(deployment, one, "d")
    [old] = [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]
    count, first = (400, 130) if equal else (300, 300)
    rows = [
        {"id": f"r{n}" if n < first else f"new{n}", "text": f"Number {n % 130}", "n": n + 5000}
        for n in range(count)
    ]
    rows_file(tmp_path / "rows.jsonl", rows)
    take_snapshot(deployment, one, "d")
    submit_chunk(deployment, "p", old)
    assert deployment.ledger.chunks.by_key("p", old).job_arn is None, "it is not bought any more"
    published = finish(deployment, one)
    assert {(row["record_id"], row["n"]) for row in published} == {(row["id"], row["n"]) for row in rows}


@pytest.mark.parametrize("by", ["deploy", "launch"])
def test_a_prompt_that_changes_before_the_chunks_are_packed_gives_no_wrong_answers(
    deployment: Deployment, tmp_path: Path, by: str
) -> None:
    """Duplicates of one prompt are not those of another."""
    old = pipeline(tmp_path, [], source=str(_titled(tmp_path)), prompt="{{ title }}", carry=("text",))
    prompt = "{{ title }}: {{ text }}"
    take_snapshot(deployment, old, "d")
    if by == "deploy":
        new = old.model_copy(update={"prompt": prompt})
        report = pack_dataset(deployment, new, "d")
        assert (report.records, report.duplicates, report.code_differs) == (110, 110, True)
    else:
        new = old
        deployment.ledger.datasets.request("p", "d", {"prompt": prompt}, launch=True)
        with pytest.raises(VersionReplacedError):
            pack_dataset(deployment, new, "d")
    rows = {row["record_id"]: row for row in finish(deployment, new)}
    assert len(rows) == 220
    answered_by_others = [row for row in rows.values() if row["answered_by"]]
    assert len(answered_by_others) == (110 if by == "deploy" else 0)
    for row in answered_by_others:
        assert row["output_text"] == rows[row["answered_by"]]["output_text"]


def _schema(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string"}},
        "required": [name],
        "additionalProperties": False,
    }


def test_jobs_in_flight_are_judged_by_the_schema_that_they_were_sent_with(
    deployment: Deployment, tmp_path: Path
) -> None:
    texts = [f"t{n}" for n in range(220)]
    old = pipeline(tmp_path, texts, answer_schema=_schema("mood"), limits=_TWO_CHUNKS)
    new = old.model_copy(
        update={"answer_schema": _schema("sentiment"), "max_record_attempts": 1, "keep_raw_output": True}
    )
    take_snapshot(deployment, old, "d")
    first, *_ = [chunk.chunk_key for chunk in pack_dataset(deployment, old, "d").chunks]
    for chunk in deployment.ledger.submissions.due(["p"], 9):
        submit_chunk(deployment, "p", chunk.chunk_key)
    _all_ended(deployment)
    collect_chunk(deployment, old, first)
    rows = finish(deployment, new)
    assert len(rows) == 220
    assert {row["status"] for row in rows} == {"succeeded"}
    assert {tuple(name for name in row if name in ("mood", "sentiment")) for row in rows} == {("mood",)}
    assert {row["attempt"] for row in rows} == {1}
    assert {row["raw_output"] for row in rows} == {None}


def _all_ended(deployment: Deployment) -> None:
    def ended() -> bool:
        poll_jobs(deployment)
        return all(chunk.ended_at for chunk in deployment.ledger.chunks.of_dataset("p", "d", 1))

    until(ended, lambda: "the jobs do not end")


class _Mood(BaseModel):
    mood: str

    @field_validator("mood")
    @classmethod
    def short(cls, value: str) -> str:
        """A rule that no JSON schema states."""
        if len(value) > 0:
            raise ValueError("too long")
        return value


@pytest.mark.parametrize("decided", ["by command", "by the wait"])
def test_an_answer_class_that_the_code_has_lost_is_waited_for(
    deployment: Deployment, tmp_path: Path, decided: str
) -> None:
    old = pipeline(tmp_path, [f"t{n}" for n in range(120)], answer_schema=_Mood, max_record_attempts=1)
    new = old.model_copy(update={"answer_schema": _schema("sentiment")})
    take_snapshot(deployment, old, "d")
    [chunk] = pack_dataset(deployment, old, "d").chunks
    submit_chunk(deployment, "p", chunk.chunk_key)
    _all_ended(deployment)
    with pytest.raises(AnswerClassMissingError, match=r"_Mood.*--schema-only"):
        collect_chunk(deployment, new, chunk.chunk_key)
    if decided == "by command":
        deployment.ledger.versions.judge_by_schema_only("p", "d")
    else:
        move_clock(deployment, 4 * 86_400)
    assert collect_chunk(deployment, new, chunk.chunk_key).tally.answered == 120
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.schema_only_since is not None


def test_the_validators_of_an_answer_class_apply_while_the_code_has_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)], answer_schema=_Mood, max_record_attempts=1)
    rows = finish(deployment, one)
    assert {row["error_code"] for row in rows} == {"answer-invalid"}


def test_an_operator_can_let_the_schema_alone_judge_while_the_code_has_the_class(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)], answer_schema=_Mood, max_record_attempts=1)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    deployment.ledger.versions.judge_by_schema_only("p", "d")
    assert {row["status"] for row in finish(deployment, one)} == {"succeeded"}


def test_other_limits_do_not_make_other_content(deployment: Deployment, tmp_path: Path) -> None:
    """Before anything is submitted they apply, by a version of their own; afterwards a version keeps what it has."""
    one = pipeline(tmp_path, [f"t{n}" for n in range(220)])
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    smaller = one.model_copy(update={"limits": _TWO_CHUNKS})
    assert take_snapshot(deployment, smaller, "d").version == 2
    keys = [chunk.chunk_key for chunk in pack_dataset(deployment, smaller, "d").chunks]
    assert keys == ["d--v2-00000", "d--v2-00001"]
    submit_chunk(deployment, "p", keys[0])
    again = take_snapshot(deployment, one, "d")
    assert (again.version, again.unchanged, again.settings_kept) == (2, True, True)
    with pytest.raises(DatasetChangedError, match="--new-version"):
        take_snapshot(deployment, one.model_copy(update={"system": "Be brief."}), "d")


def test_a_preparation_that_fails_is_shown_and_can_be_repeated(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, ["x"] * 120, prompt="{{ nothing }}")
    begun = deployment.ledger.datasets.request("p", "d", {}, launch=True)
    with pytest.raises(InvalidInputError) as error:
        take_snapshot(deployment, one, "d")
    deployment.ledger.datasets.fail_preparation(begun, begun.launch_id, str(error.value))
    [status] = deployment.ledger.status_report.datasets()
    assert status.state == "failed"
    assert "'nothing'" in (status.why or "")
    assert deployment.ledger.datasets.to_launch(["p"], 9) == []
    good = one.model_copy(update={"prompt": "{{ text }}"})
    assert take_snapshot(deployment, good, "d").version == 1
    assert pack_dataset(deployment, good, "d").outcome == "entered"


def test_a_queues_day_cannot_be_launched(deployment: Deployment) -> None:
    deployment.ledger.queues.register("q", job_type="t", model_id="m", settings={})
    with pytest.raises(QueueDayError, match="flush"):
        deployment.ledger.datasets.request("q", "2026-01-01", {}, launch=True, new_version=True)
