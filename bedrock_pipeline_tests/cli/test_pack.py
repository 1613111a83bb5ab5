"""`pack`: the assets' code on files alone."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.models import family_of
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline_tests.cli.file_commands import HAIKU_45, MODEL, inputs, packed, run, summary


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
        (["a"], (), "Add records, or lower --min-records where"),
        (
            [f"r{number}" for number in range(20)],
            ("--max-job-bytes", "300"),
            "raise --max-job-bytes or lower --min-records",
        ),
        (["a"] * 20, ("--min-records", "0"), "--min-records: Input should be"),
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
