"""Inputs with prompts as people have them, from a file to the lines of a job."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.files.folders import place
from bedrock_pipeline.files.pack_files import pack_files
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.sources import open_location

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def packed(file: Path, **given: Any) -> tuple[list[dict[str, Any]], dict[str, int], bytes]:
    """The bodies of a file's rows in their order, the rejections, and the lines themselves."""
    settings = {"name": "p", "model_id": CLAUDE, "record_id": "id", "limits": Limits(min_records=1)}
    settings |= {"ask_identical_once": False, **given}
    out = file.with_suffix(".out")
    source = open_location([str(file)], objects=None)  # type: ignore[arg-type]  # a local file needs no S3
    report = pack_files(source, Pipeline.model_validate(settings), place(str(out), objects=None))  # type: ignore[arg-type]
    lines = b"".join(path.read_bytes() for path in sorted(out.rglob("*.jsonl")))
    return [orjson.loads(line)["modelInput"] for line in lines.splitlines()], report.rejections, lines


def prompt_of(body: dict[str, Any]) -> Any:
    return body["messages"][-1]["content"][0]["text"]


def test_a_column_in_the_system_prompt_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id":"1","text":"x","language":"de"}\n')
    [body], _, _ = packed(tmp_path / "in.jsonl", prompt="{{ text }}", system="Answer in {{ language }}.")
    assert body["system"] == "Answer in de."


def test_nulls_with_which_arrow_pads_a_body_are_not_sent(tmp_path: Path) -> None:
    photo = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    contents = [[{"type": "text", "text": "hi"}], [{"type": "image", "source": photo}]]
    bodies = [
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": one}],
        }
        for one in contents
    ]
    bodies[1] = {"system": "s", **bodies[1]}
    pq.write_table(pa.table({"id": ["1", "2"], "body": bodies}), tmp_path / "in.parquet")
    found, _, lines = packed(tmp_path / "in.parquet", model_input="body")
    assert found == bodies
    assert b"null" not in lines


def test_messages_in_the_place_of_a_body_are_told_what_to_set(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "hi"}], [{"role": "user", "content": "hello"}]]
    pq.write_table(pa.table({"id": ["1", "2"], "m": messages}), tmp_path / "in.parquet")
    with pytest.raises(BedrockPipelineError) as raised:
        packed(tmp_path / "in.parquet", model_input="m")
    assert "2 rows were rejected" in raised.value.what
    assert "name it in messages, not in model_input" in raised.value.fix
    found, _, _ = packed(tmp_path / "in.parquet", messages="m")
    assert [prompt_of(body) for body in found] == ["hi", "hello"]
    (tmp_path / "in.out").rename(tmp_path / "before")
    found, _, _ = packed(tmp_path / "in.parquet", prompt="{{ m }}")
    assert prompt_of(found[0]) == '[{"role":"user","content":"hi"}]'


def test_a_body_in_jsonl_keeps_the_order_in_which_a_model_answers(tmp_path: Path) -> None:
    properties = '{"reasoning":{"type":"string"},"answer":{"type":"string"}}'
    tool = f'{{"name":"answer","input_schema":{{"type":"object","properties":{properties}}}}}'
    body = (
        '{"anthropic_version":"bedrock-2023-05-31","max_tokens":50,'
        f'"messages":[{{"role":"user","content":"q"}}],"tools":[{tool}]}}'
    )
    text = orjson.dumps(body).decode()  # as an object, and as JSON text
    (tmp_path / "in.jsonl").write_text(f'{{"id":"1","body":{body}}}\n{{"id":"2","body":{text}}}\n')
    _, rejected, lines = packed(tmp_path / "in.jsonl", model_input="body")
    assert rejected == {}
    assert lines.count(properties.encode()) == 2


def test_an_empty_or_blank_text_is_rejected_and_counted(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,\n2,"   "\n3,ok\n')
    found, rejected, _ = packed(tmp_path / "in.csv", prompt="{{ text }}")
    assert ([prompt_of(body) for body in found], rejected) == (["ok"], {"message 1 has a blank text": 2})


def test_a_file_of_which_every_row_is_rejected_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,\n2,"   "\n')
    with pytest.raises(BedrockPipelineError) as raised:
        packed(tmp_path / "in.csv", prompt="{{ text }}")
    assert (raised.value.what, raised.value.fix) == (
        "The dataset has no record; 2 rows were rejected.",
        "2 rows: message 1 has a blank text.",
    )


def test_nested_fields_of_parquet_and_of_jsonl_read_the_same(tmp_path: Path) -> None:
    row = {"id": "1", "author": {"name": "Ann", "born": 1970}}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_bytes(orjson.dumps(row))
    for name in ("a.parquet", "b.jsonl"):
        [body], _, _ = packed(tmp_path / name, prompt="{{ author.name }}, {{ author.born }}")
        assert prompt_of(body) == "Ann, 1970"


def test_values_of_a_warehouse_read_as_one_writes_them(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["1"],
            "zero": pa.array([Decimal(0)], pa.decimal128(38, 18)),
            "share": pa.array([0.1], pa.float32()),
            "price": [3.0],
            "day": [dt.date(2026, 1, 2)],
            "paid": [True],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    names = table.column_names[1:]
    [body], _, _ = packed(tmp_path / "in.parquet", prompt=" ".join(f"{{{{ {name} }}}}" for name in names))
    assert prompt_of(body) == "0 0.1 3 2026-01-02 true"


def test_binary_data_within_a_list_rejects_its_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1", "2"], "b": [[b"a"], []], "t": ["x", "y"]}), tmp_path / "in.parquet")
    found, rejected, _ = packed(tmp_path / "in.parquet", prompt="{{ t }} {{ b }}")
    assert [prompt_of(body) for body in found] == ["y []"]
    assert rejected == {"column 'b' has binary data in it": 1}
