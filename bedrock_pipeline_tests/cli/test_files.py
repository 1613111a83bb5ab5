"""`pack` and `parse`: the assets' code on files alone."""

import errno
import json
import shutil
import subprocess
import sys
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.files.folders import LocalFolder, place
from bedrock_pipeline.models import family_of
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate

HAIKU_45 = "anthropic.claude-haiku-4-5-20251001-v1:0"
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def summary(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert found.pop("seconds") > 0
    assert found.pop("peak_bytes") > 10_000_000
    return found


def inputs(folder: Path, ids: list[str | None]) -> Path:
    path = folder / "in.parquet"
    texts = [f'say "{number}"\n' for number in range(len(ids))]
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), "text": texts, "n": range(len(ids))}), path)
    return path


def packed(source: Path, out: str, *options: str) -> Result:
    return run(
        *("pack", str(source), "--model", MODEL, "--prompt", "Please: {{ text }}", "--record-id", "id"),
        *("--carry", "n", "--min-records", "10", "--max-records", "50", "--out", out, "--json", *options),
    )


def test_pack_writes_the_chunks_of_a_dataset(tmp_path: Path) -> None:
    ids = [f"r{number}" if number != 7 else None for number in range(131)]
    out = tmp_path / "out"
    shown = summary(packed(inputs(tmp_path, ids), str(out)))
    chunks = sorted(out.glob("chunk-*"))
    lines = [
        line for chunk in chunks for line in (chunk / "00000.jsonl").read_bytes().splitlines(keepends=True)
    ]
    template = RequestTemplate(family_of(MODEL), prompt="Please: {{ text }}", model_input=None)
    assert lines == [
        template.line(one, {"text": f'say "{number}"\n'}) for number, one in enumerate(ids) if one is not None
    ]
    assert shown == {
        "records": 130,
        "bytes": sum(map(len, lines)),
        "chunks": 3,
        "rejected": 1,
        "rejections": {"record id is null": 1},
    }
    index = pa.concat_tables(pq.read_table(chunk / "index.parquet") for chunk in chunks)
    assert index.to_pylist() == [
        {"record_id": one, "n": number} for number, one in enumerate(ids) if one is not None
    ]
    assert pq.read_table(out / "rejected.parquet")["position"].to_pylist() == [7]


def test_pack_finds_repeated_ids_and_keeps_the_first(tmp_path: Path) -> None:
    ids: list[str | None] = [f"r{number % 60}" for number in range(100)]
    out = tmp_path / "out"
    assert summary(packed(inputs(tmp_path, ids), str(out)))["rejections"] == {"record id occurred before": 40}
    lines = [line for file in sorted(out.rglob("*.jsonl")) for line in file.read_bytes().splitlines()]
    assert [orjson.loads(line)["recordId"] for line in lines] == ids[:60]
    assert pq.read_table(out / "rejected.parquet")["position"].to_pylist() == list(range(60, 100))


def test_pack_counts_identical_rows_without_an_id(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "same"}\n' * 12)
    shown = summary(
        run(
            *("pack", str(source), "--model", MODEL, "--prompt", "{{ text }}", "--min-records", "1"),
            *("--out", str(tmp_path / "out"), "--json"),
        )
    )
    ids = pq.read_table(tmp_path / "out" / "chunk-00000" / "index.parquet")["record_id"].to_pylist()
    assert (shown["records"], shown["rejected"]) == (12, 0)
    assert ids == [ids[0], *(f"{ids[0]}-{number}" for number in range(2, 13))]


def test_pack_into_s3_and_out_of_it(deployment: Deployment, tmp_path: Path) -> None:
    bucket = deployment.settings.bucket
    source = inputs(tmp_path, [f"r{number % 99}" for number in range(100)])
    deployment.objects.upload(source, f"s3://{bucket}/in/a.parquet")
    out = f"s3://{bucket}/packed"
    shown = summary(
        run(
            *("pack", f"s3://{bucket}/in/", "--model", MODEL, "--prompt", "{{ text }}", "--record-id", "id"),
            *("--min-records", "10", "--max-records", "30", "--out", out, "--json"),
        )
    )
    names = [item.uri.removeprefix(out) for item in deployment.objects.list(f"{out}/")]
    assert shown["records"] == 99
    assert names == [
        *(f"/chunk-0000{number}/{name}" for number in range(4) for name in ("00000.jsonl", "index.parquet")),
        "/rejected.parquet",
    ]
    again = packed(source, out)
    assert again.exit_code == 1
    assert "objects beneath" in again.output


@pytest.mark.parametrize(
    ("ids", "options", "said"),
    [
        (["a"], (), "has 1 records"),
        (["a"] * 20, ("--parameters", "[1]"), "must be a JSON object"),
        (["a"] * 20, ("--min-records", "40"), "--max-records must be at least twice --min-records"),
        (["a"] * 20, ("--model-input", "text"), "not prompt and --model-input"),
        ([f"r{number}" for number in range(20)], ("--max-job-bytes", "300"), "fill a job of 300 bytes"),
    ],
)
def test_pack_says_what_is_wrong(
    tmp_path: Path, ids: list[str | None], options: tuple[str, ...], said: str
) -> None:
    result = packed(inputs(tmp_path, ids), str(tmp_path / "out"), *options)
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())


_KILLED = """
import os, sys
from pathlib import Path
from bedrock_pipeline.files.folders import LocalFolder, place
with LocalFolder(Path(sys.argv[1])).claimed() as claim:
    (claim.work / "copy").write_text("a row")
    (claim.work / "chunk").write_text("a line")
    claim.put(claim.work / "chunk", "chunk-00000/00000.jsonl")
    if sys.argv[2] == "early":
        os._exit(9)
    shown, Path.rename = Path.rename, lambda one, target: (shown(one, target), os._exit(9))
"""


def test_a_pack_that_was_killed_leaves_no_chunk_that_looks_whole(tmp_path: Path) -> None:
    source = inputs(tmp_path, [f"r{number}" for number in range(20)])
    early, late = tmp_path / "early", tmp_path / "late"
    for out in (early, late):
        assert (
            subprocess.run([sys.executable, "-c", _KILLED, str(out), out.name], check=False).returncode == 9
        )
    assert list(early.glob("chunk-*")) == []
    assert summary(packed(source, str(early)))["records"] == 20
    assert sorted(one.name for one in early.iterdir()) == ["chunk-00000", "rejected.parquet"]
    result = packed(source, str(late))
    assert result.exit_code == 1
    assert "is incomplete" in result.stderr
    assert (late / "_incomplete").is_dir()


def test_a_pack_that_fails_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert packed(inputs(tmp_path, ["a"]), str(out)).exit_code == 1
    assert list(out.iterdir()) == []


def test_pack_writes_into_no_place_that_is_used(deployment: Deployment, tmp_path: Path) -> None:
    source = inputs(tmp_path, [f"r{number}" for number in range(20)])
    used, uri = tmp_path / "used", f"s3://{deployment.settings.bucket}/used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    deployment.objects.put(f"{uri}/mine.txt", b"mine")
    for out, said in ((str(used), "is not empty"), (uri, "There are objects beneath")):
        result = packed(source, out)
        assert result.exit_code == 1
        assert said in " ".join(result.stderr.split())
    assert [one.name for one in used.iterdir()] == ["mine.txt"]
    assert [one.uri for one in deployment.objects.list(uri)] == [f"{uri}/mine.txt"]


@pytest.mark.parametrize("where", ["local", "s3"])
def test_of_two_packs_into_one_place_the_second_says_that_another_is_there(
    deployment: Deployment, tmp_path: Path, where: str
) -> None:
    source = inputs(tmp_path, [f"r{number}" for number in range(20)])
    out = f"s3://{deployment.settings.bucket}/both" if where == "s3" else str(tmp_path / "both")
    with place(out, deployment.objects).claimed() as claim:
        (claim.work / "first").write_text("the first")
        claim.put(claim.work / "first", "first.txt")
        result = packed(source, out)
        assert result.exit_code == 1
        assert "another `pack`" in result.stderr.lower()
    written = (
        [one.uri.removeprefix(f"{out}/") for one in deployment.objects.list(f"{out}/")]
        if where == "s3"
        else [one.name for one in Path(out).iterdir()]
    )
    assert written == ["first.txt"]


def test_a_place_in_s3_that_was_not_filled_says_so(deployment: Deployment, tmp_path: Path) -> None:
    out = f"s3://{deployment.settings.bucket}/partial"
    (tmp_path / "chunk").write_text("a line")

    def fill() -> None:
        with place(out, deployment.objects).claimed() as claim:
            claim.put(tmp_path / "chunk", "chunk-00000/00000.jsonl")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill()
    result = packed(inputs(tmp_path, ["a"]), out)
    assert result.exit_code == 1
    assert "is incomplete" in " ".join(result.stderr.split())


def output(record_id: str, number: int) -> bytes:
    answer = {
        "content": [{"type": "text", "text": f"answer {number}"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    return orjson.dumps({"modelInput": {}, "modelOutput": answer, "recordId": record_id}) + b"\n"


def failure(record_id: str) -> bytes:
    return orjson.dumps({"recordId": record_id, "error": {"errorCode": 400, "errorMessage": "no"}}) + b"\n"


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


_LINE = b'{"recordId":"r0","modelOutput":{"content":[{"type":"text","text":"a"}]}}\n'


def test_parse_reads_a_file_once_however_often_it_is_named(tmp_path: Path) -> None:
    output, out = tmp_path / "a.jsonl.out", tmp_path / "out.parquet"
    output.write_bytes(_LINE)
    (tmp_path / "x").mkdir()
    again = str(tmp_path / "x" / ".." / "a.jsonl.out")
    result = run("parse", str(output), again, str(tmp_path), "--model", MODEL, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert pq.ParquetFile(out).read()["record_id"].to_pylist() == ["r0"]


def test_a_mark_of_an_editor_costs_no_record(tmp_path: Path) -> None:
    output, out = tmp_path / "a.jsonl.out", tmp_path / "out.parquet"
    output.write_bytes(BOM_UTF8 + _LINE)
    assert summary(run("parse", str(output), "--model", MODEL, "--out", str(out), "--json"))["records"] == 1
    output.write_bytes(BOM_UTF8)
    shown = summary(run("parse", str(output), "--model", MODEL, "--out", str(out), "--json"))
    assert (shown["records"], shown["unreadable_lines"]) == (0, 0)


def test_a_parse_that_fails_leaves_the_results_that_are_there(tmp_path: Path) -> None:
    other, out = tmp_path / "mine.csv", tmp_path / "out.parquet"
    other.write_text("id,text\n1,hello\n")
    out.write_bytes(b"results")
    assert run("parse", str(other), "--model", MODEL, "--out", str(out)).exit_code == 1
    assert out.read_bytes() == b"results"


def test_a_file_that_cannot_be_moved_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk, when it is copied from another file system."""

    def copies_half(_: Path, target: Path) -> None:
        target.write_bytes(_LINE[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "move", copies_half)
    (tmp_path / "whole").write_bytes(_LINE)
    with pytest.raises(OSError, match="No space left"):
        LocalFolder(tmp_path / "out").put(tmp_path / "whole", "chunk-00000/00000.jsonl")
    assert list((tmp_path / "out" / "chunk-00000").iterdir()) == []


def test_parse_names_a_folder_without_output(tmp_path: Path) -> None:
    result = run("parse", str(tmp_path / "no"), "--model", MODEL, "--out", str(tmp_path / "out.parquet"))
    assert result.exit_code == 1
    assert "There is no output at" in result.output


@pytest.mark.parametrize(
    ("index", "out", "message"),
    [
        ("notes.txt", "out.parquet", "is not the index of a chunk"),
        ("other.parquet", "out.parquet", "is not the index of a chunk"),
        ("missing.parquet", "out.parquet", "There is no index"),
        (None, "folder/", "is a folder"),
        (None, ".", "is a folder"),
        (None, "out.csv", "does not end with .parquet"),
    ],
)
def test_parse_rejects_what_is_no_index_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str | None, out: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl.out").write_text("{}\n")
    Path("notes.txt").write_text("no parquet")
    pq.write_table(pa.table({"id": ["a"]}), "other.parquet")
    result = run(
        "parse", "a.jsonl.out", "--model", MODEL, "--out", out, *(["--index", index] if index else [])
    )
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())


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


def bodies(out: Path) -> list[dict[str, Any]]:
    lines = [line for file in sorted(out.glob("chunk-*/*.jsonl")) for line in file.read_bytes().splitlines()]
    return [orjson.loads(line)["modelInput"] for line in lines]


def test_pack_has_options_for_what_a_pipeline_sends(tmp_path: Path) -> None:
    source, out, schema = tmp_path / "in.jsonl", tmp_path / "out", tmp_path / "schema.json"
    row = {"chat": [{"role": "user", "content": "Hello"}], "paper": "data:text/plain;base64,d29yZHM="}
    source.write_bytes(orjson.dumps(row) + b"\n")
    schema.write_text('{"type": "object", "properties": {"n": {"type": "integer"}}}')
    common = ("pack", str(source), "--model", f"us.{HAIKU_45}", "--min-records", "1")
    said = summary(
        run(*common, "--messages", "chat", "--system", "Be brief.", "--out", str(out / "a"), "--json")
    )
    assert said["records"] == 1
    [body] = bodies(out / "a")
    assert body["system"] == "Be brief."
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    summary(
        run(
            *(*common, "--prompt", "Sum it up.", "--document", "paper", "--example", "One?", "Two."),
            *("--invocation", "Converse", "--schema", str(schema), "--answer-by", "schema"),
            *("--parameters", '{"max_tokens": 50}', "--out", str(out / "b"), "--json"),
        )
    )
    [body] = bodies(out / "b")
    first, answer, last = body["messages"]
    assert (first["content"], answer["content"]) == ([{"text": "One?"}], [{"text": "Two."}])
    assert last["content"][0]["document"]["source"] == {"bytes": "d29yZHM="}
    assert body["inferenceConfig"] == {"maxTokens": 50}
    assert body["outputConfig"]["textFormat"]["type"] == "json_schema"
    wrong = run(
        *common, "--model-input", "chat", "--parameters", "{}", "--system", "a", "--out", str(out / "c")
    )
    assert "system: they need a prompt" in " ".join(wrong.output.split())


def test_parse_reads_the_output_of_a_job_of_the_type_converse(tmp_path: Path) -> None:
    message = {"role": "assistant", "content": [{"text": "Two."}]}
    answered = {"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 3}}
    file = tmp_path / "a.jsonl.out"
    file.write_bytes(orjson.dumps({"recordId": "r0", "modelOutput": answered}) + b"\n")
    words = ("parse", str(file), "--model", MODEL, "--invocation", "Converse", "--json")
    assert summary(run(*words, "--out", str(tmp_path / "out.parquet")))["answered"] == 1
    [row] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert (row["output_text"], row["input_tokens"]) == ("Two.", 3)
