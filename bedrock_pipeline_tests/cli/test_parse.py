"""`parse`: the assets' code on files alone."""

from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline_tests.cli.file_commands import (
    HAIKU_45,
    LINE,
    MODEL,
    failure,
    inputs,
    output,
    packed,
    run,
    summary,
)


def test_parse_gives_a_row_for_every_line(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "a.jsonl.out").write_bytes(output("r0", 0) + failure("r1") + b"{\n" + output("r2", 2))
    (folder / "b.jsonl.out").write_bytes(output("r3", 3))
    shown = summary(
        run("parse", str(folder), "--model", MODEL, "--out", str(tmp_path / "x" / "out.parquet"), "--json")
    )
    rows = pq.read_table(tmp_path / "x" / "out.parquet").to_pylist()
    assert [(row["record_id"], row["output_text"], row["error_code"], row["chunk_key"]) for row in rows] == [
        ("r0", "answer 0", None, "a.jsonl.out"),
        ("r1", None, "400", "a.jsonl.out"),
        ("r2", "answer 2", None, "a.jsonl.out"),
        ("r3", "answer 3", None, "b.jsonl.out"),
    ]
    wanted = {
        "records": 4,
        "answered": 3,
        "failed": 1,
        "unreadable_lines": 1,
        "input_tokens": 9,
        "output_tokens": 6,
    }
    assert {name: shown[name] for name in wanted} == wanted


def test_parse_with_an_index_joins_and_names_what_is_missing(deployment: Deployment, tmp_path: Path) -> None:
    ids: list[str | None] = [f"row {number}" for number in range(12)]
    assert packed(inputs(tmp_path, ids), str(tmp_path / "out")).exit_code == 0
    index = tmp_path / "out" / "chunk-00000" / "index.parquet"
    [lines] = [file.read_bytes().splitlines() for file in (tmp_path / "out").rglob("*.jsonl")]
    answers = tmp_path / "answers.jsonl.out"
    answers.write_bytes(
        b"".join(output(orjson.loads(line)["recordId"], n) for n, line in enumerate(lines[:11]))
    )
    bucket = f"s3://{deployment.settings.bucket}"
    deployment.objects.upload(answers, f"{bucket}/o/answers.jsonl.out")
    deployment.objects.upload(index, f"{bucket}/index.parquet")
    shown = summary(
        run(
            *("parse", f"{bucket}/o/", "--model", MODEL, "--index", f"{bucket}/index.parquet"),
            *("--out", f"{bucket}/results/out.parquet", "--json"),
        )
    )
    with deployment.objects.random_access(f"{bucket}/results/out.parquet") as stream:
        rows = pq.ParquetFile(stream).read().to_pylist()
    assert [(row["record_id"], row["n"], row["output_text"]) for row in rows[:11]] == [
        (f"row {number}", number, f"answer {number}") for number in range(11)
    ]
    assert (rows[11]["record_id"], rows[11]["error_code"]) == ("row 11", "missing")
    assert (shown["records"], shown["answered"], shown["failed"]) == (12, 11, 1)


def test_parse_says_that_nothing_is_output(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id,text\n1,a\n")
    result = run(
        "parse", str(tmp_path / "mine.csv"), "--model", MODEL, "--out", str(tmp_path / "out.parquet")
    )
    assert result.exit_code == 1
    assert "None of the 2 lines is one of a batch job's output" in result.output


_CLAUDE: dict[str, Any] = {"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}


_CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
    "stopReason": "end_turn",
}


@pytest.mark.parametrize(
    ("members", "options", "code", "said"),
    [
        ({"modelOutput": _CLAUDE}, ("--model", "antropic.claude-3-haiku-20240307-v1:0"), 2, "did you mean"),
        ({"modelOutput": _CLAUDE}, ("--model", "foo.bar"), 2, "--family claude"),
        ({"modelOutput": _CLAUDE}, ("--model", ""), 2, "is not known"),
        ({"modelOutput": _CLAUDE}, ("--model", "foo.bar", "--family", "claude"), 0, "1 responses"),
        ({"modelOutput": _CLAUDE}, ("--model", "foo.bar", "--family", "raw"), 0, "1 responses"),
        ({"modelOutput": _CLAUDE}, ("--model", "amazon.nova-lite-v1:0"), 1, "but of claude"),
        ({"modelOutput": _CONVERSE}, ("--model", MODEL), 1, "but of nova or converse"),
        ({"modelOutput": _CONVERSE}, ("--model", MODEL, "--invocation", "Converse"), 0, "1 responses"),
        ({"modelOutput": {"neither": 1}}, ("--model", MODEL), 0, "1 errors"),
        ({"modelOutput": {"error": {"message": "m"}}}, ("--model", MODEL), 0, "1 errors"),
        (
            {"modelOutput": {**_CLAUDE, "model": "claude-3-haiku-20240307"}},
            ("--model", f"us.{MODEL}"),
            0,
            "1 responses",
        ),
        (
            {"modelOutput": {**_CLAUDE, "model": "claude-haiku-4-5-20251001"}},
            ("--model", MODEL),
            1,
            f"are of {HAIKU_45}, not of {MODEL}",
        ),
        ({"modelOutput": {**_CLAUDE, "model": "an alias"}}, ("--model", MODEL), 0, "1 responses"),
        ({"modelInput": {"messages": []}}, ("--model", MODEL), 1, "is the input of a job"),
        (
            {"modelInput": {}, "error": {"errorCode": 400, "errorMessage": "m"}},
            ("--model", MODEL),
            0,
            "1 errors",
        ),
    ],
)
def test_parse_says_that_the_file_is_not_the_output_of_this_model(
    tmp_path: Path, members: dict[str, Any], options: tuple[str, ...], code: int, said: str
) -> None:
    file, out = tmp_path / "a.jsonl.out", tmp_path / "out.parquet"
    file.write_bytes(orjson.dumps({"recordId": "r0", **members}) + b"\n")
    result = run("parse", str(file), *options, "--out", str(out))
    assert (result.exit_code, out.exists()) == (code, code == 0), result.output
    assert said in " ".join(result.output.split())


def test_parse_reads_a_file_once_however_often_it_is_named(tmp_path: Path) -> None:
    output, out = tmp_path / "a.jsonl.out", tmp_path / "out.parquet"
    output.write_bytes(LINE)
    (tmp_path / "x").mkdir()
    again = str(tmp_path / "x" / ".." / "a.jsonl.out")
    result = run("parse", str(output), again, str(tmp_path), "--model", MODEL, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert pq.ParquetFile(out).read()["record_id"].to_pylist() == ["r0"]


def test_a_mark_of_an_editor_costs_no_record(tmp_path: Path) -> None:
    output, out = tmp_path / "a.jsonl.out", tmp_path / "out.parquet"
    output.write_bytes(BOM_UTF8 + LINE)
    assert summary(run("parse", str(output), "--model", MODEL, "--out", str(out), "--json"))["records"] == 1
    output.write_bytes(BOM_UTF8)
    result = run("parse", str(output), "--model", MODEL, "--out", str(out))
    assert result.exit_code == 1
    assert "The output files are empty" in result.output


def test_a_parse_that_fails_leaves_the_results_that_are_there(tmp_path: Path) -> None:
    other, out = tmp_path / "mine.csv", tmp_path / "out.parquet"
    other.write_text("id,text\n1,hello\n")
    out.write_bytes(b"results")
    assert run("parse", str(other), "--model", MODEL, "--out", str(out)).exit_code == 1
    assert out.read_bytes() == b"results"


def test_a_folder_that_is_named_like_an_output_is_looked_into(tmp_path: Path) -> None:
    inner, out = tmp_path / "outputs" / "a.jsonl.out", tmp_path / "out.parquet"
    inner.mkdir(parents=True)
    (inner / "b.jsonl.out").write_bytes(LINE)
    words = ("parse", str(tmp_path / "outputs"), "--model", MODEL, "--out", str(out), "--json")
    assert summary(run(*words))["records"] == 1


def test_parse_names_a_folder_without_output(tmp_path: Path) -> None:
    result = run("parse", str(tmp_path / "no"), "--model", MODEL, "--out", str(tmp_path / "out.parquet"))
    assert result.exit_code == 1
    assert "There is no output at" in result.output


_NO_INDEX: dict[str, dict[str, Any]] = {
    "other.parquet": {"id": ["a"]},
    "rejected.parquet": {"position": [0], "record_id": ["r0"], "reason": ["null"]},
    "integers.parquet": {"record_id": [1, 2]},
    "nulls.parquet": {"record_id": ["r0", None]},
    "twice.parquet": {"record_id": ["r0", "r0"]},
    "another.parquet": {"record_id": ["q0", "q1"]},
    "_incomplete/whole/chunk-00000/index.parquet": {"record_id": ["r0"]},
}


@pytest.mark.parametrize(
    ("index", "out", "message"),
    [
        ("notes.txt", "out.parquet", "is not the index of a chunk"),
        ("other.parquet", "out.parquet", "its first column is not record_id"),
        ("rejected.parquet", "out.parquet", "its first column is not record_id"),
        ("results.parquet", "out.parquet", "it has the column status, as results have"),
        ("integers.parquet", "out.parquet", "the type of record_id is int64"),
        ("nulls.parquet", "out.parquet", "record_id has nulls"),
        ("twice.parquet", "out.parquet", "record_id has a value twice"),
        ("another.parquet", "out.parquet", "it is another chunk's index"),
        ("_incomplete/whole/chunk-00000/index.parquet", "out.parquet", "was broken off"),
        ("missing.parquet", "out.parquet", "There is no index"),
        ("another.parquet", "x/../another.parquet", "is a file that is read"),
        (None, "folder/", "is a folder"),
        (None, ".", "is a folder"),
        (None, "out.csv", "does not end with .parquet"),
    ],
)
def test_parse_rejects_what_is_no_index_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str | None, out: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl.out").write_bytes(LINE)
    Path("notes.txt").write_text("no parquet")
    assert run("parse", "a.jsonl.out", "--model", MODEL, "--out", "results.parquet").exit_code == 0
    for name, columns in _NO_INDEX.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), name)
    before = Path("another.parquet").read_bytes()
    result = run(
        "parse", "a.jsonl.out", "--model", MODEL, "--out", out, *(["--index", index] if index else [])
    )
    assert result.exit_code == 1, result.output
    assert message in " ".join(result.stderr.split())
    assert not Path("out.parquet").exists()
    assert Path("another.parquet").read_bytes() == before


def test_parse_says_which_lines_are_of_no_record_of_the_index(tmp_path: Path) -> None:
    file, index = tmp_path / "a.jsonl.out", tmp_path / "index.parquet"
    file.write_bytes(LINE + output("other", 1))
    pq.write_table(pa.table({"record_id": pa.array(["r0"], pa.large_string()), "n": [1]}), index)
    words = ("parse", str(file), "--model", MODEL, "--index", str(index))
    result = run(*words, "--out", str(tmp_path / "out.parquet"))
    assert result.exit_code == 0, result.output
    assert "1 lines of records that the index does not have" in result.output


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_PROFILE", "nobody"),
        ("AWS_ENDPOINT_URL_S3", "http://user:SECRET@no url"),
        ("AWS_REGION", "no region"),
    ],
)
def test_aws_settings_matter_only_where_a_location_is_in_s3_and_are_then_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    ids: list[str | None] = [f"r{number}" for number in range(100)]
    assert packed(inputs(tmp_path, ids), str(tmp_path / "out")).exit_code == 0
    result = run("parse", "s3://bucket/a.jsonl.out", "--model", MODEL, "--out", str(tmp_path / "out.parquet"))
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "Correct AWS_" in " ".join(result.output.split())
    assert "SECRET" not in result.output


def test_parse_reads_the_output_of_a_job_of_the_type_converse(tmp_path: Path) -> None:
    message = {"role": "assistant", "content": [{"text": "Two."}]}
    answered = {"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 3}}
    file = tmp_path / "a.jsonl.out"
    file.write_bytes(orjson.dumps({"recordId": "r0", "modelOutput": answered}) + b"\n")
    words = ("parse", str(file), "--model", MODEL, "--invocation", "Converse", "--json")
    assert summary(run(*words, "--out", str(tmp_path / "out.parquet")))["answered"] == 1
    [row] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert (row["output_text"], row["input_tokens"]) == ("Two.", 3)
