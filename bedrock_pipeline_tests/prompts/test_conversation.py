"""Conversations that rows bring, prompts that a function makes, examples and templates of the system prompt."""

import base64
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.frozen_settings import freeze, thaw
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.snapshot_packer import pack_snapshot
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError, write_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import ArrowSource, local_file

CLAUDE, NOVA, QWEN = (
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.nova-lite-v1:0",
    "qwen.qwen3-vl-235b-a22b",
)
PNG = b"\x89PNG\r\n\x1a\nphoto"
PNG64 = base64.b64encode(PNG).decode()
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image", "image": PNG64}]},
]


def bodies(table: pa.Table, folder: Path, **given: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """The bodies of rows by record id, through snapshot and packing as a dataset has them; and the rejections."""
    given = {"name": "p", "model_id": CLAUDE, "record_id": "id", "limits": Limits(min_records=1), **given}
    one = Pipeline.model_validate(given)
    folder.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    with RejectionWriter(folder / "rejected.parquet") as rejected:
        source = ArrowSource(table.schema, lambda: iter(table.to_batches()))
        snapshot = write_snapshot(source, SnapshotPlan.of(one), folder, rejected)
        # Packing knows the pipeline only as it was frozen.
        frozen = thaw(freeze(one, SnapshotPlan.of(one).template.constant()))
        assert isinstance(frozen, Pipeline)

        def sink(chunks: Any, _plan: Any) -> None:
            for chunk in chunks:
                for file in chunk.files:
                    lines = map(orjson.loads, file.path.read_bytes().splitlines())
                    found.update({line["recordId"]: line["modelInput"] for line in lines})

        pack_snapshot([local_file(str(part)) for part in snapshot.parts], frozen, folder, rejected, sink)
    return found, dict(rejected.by_reason)


def rows(**columns: Any) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({"id": [f"r{n}" for n in range(count)], **columns})


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {},
            {
                "system": "Answer in de.\n\nBe brief.",
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is it?"},
                            {
                                "type": "image",
                                "source": {"type": "base64", "media_type": "image/png", "data": PNG64},
                            },
                        ],
                    },
                ],
            },
        ),
        (
            {"model_id": NOVA},
            {
                "system": [{"text": "Answer in de.\n\nBe brief."}],
                "messages": [
                    {"role": "user", "content": [{"text": "Hello"}]},
                    {"role": "assistant", "content": [{"text": "Yes?"}]},
                    {
                        "role": "user",
                        "content": [
                            {"text": "What is it?"},
                            {"image": {"format": "png", "source": {"bytes": PNG64}}},
                        ],
                    },
                ],
            },
        ),
        (
            {"model_id": QWEN},
            {
                "messages": [
                    {"role": "system", "content": "Answer in de.\n\nBe brief."},
                    {"role": "user", "content": "Hello"},
                    {"role": "assistant", "content": "Yes?"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is it?"},
                            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG64}"}},
                        ],
                    },
                ]
            },
        ),
    ],
    ids=["claude", "nova", "chat"],
)
def test_a_column_of_messages_is_each_familys_conversation(
    tmp_path: Path, given: dict[str, Any], expected: dict[str, Any], as_text: bool
) -> None:
    text = orjson.dumps(SAID).decode()
    if as_text:
        table = rows(m=[text], language=["de"])
    else:
        given = {**given, "render": _parsed}
        table = rows(m=[text], language=["de"])
    way = {} if "render" in given else {"messages": "m"}
    found, rejected = bodies(table, tmp_path, system="Answer in {{ language }}.", **way, **given)
    assert rejected == {}
    assert {name: found["r0"].get(name) for name in expected} == expected
    model = given.get("model_id", CLAUDE)
    assert Models().answer(model, found["r0"], batch=True).body, "the model takes it"


def _parsed(row: dict[str, Any]) -> Any:
    return orjson.loads(row["m"])


def test_structs_of_messages_have_nulls_that_nobody_sent(tmp_path: Path) -> None:
    messages = [
        [{"role": "user", "content": "hi", "name": None}],
        [{"role": "user", "content": "a", "name": None}, {"role": "assistant", "content": "b", "name": None}],
        [{"role": "user", "content": "a", "name": "Ann"}],
    ]
    found, rejected = bodies(rows(m=messages), tmp_path, messages="m")
    assert found["r0"]["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    assert len(found["r1"]["messages"]) == 2
    assert rejected == {
        "column 'm' has the member name in message 1; give whole bodies in a column (model_input)": 1,
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is null, not text or a list of messages"),
        ("no json", "is text that is not JSON"),
        ('"text"', "is text, not a list of messages"),
        ("[]", "has no message of the user"),
        ('[{"role":"assistant","content":"a"}]', "begins with a message of the assistant"),
        ('[{"role":"tool","content":"a"}]', "has a message 1 of tool, not of system, user or assistant"),
        ('[{"role":"user"}]', "has a message 1 without content"),
        (
            '[{"role":"user","content":{"text":"a"}}]',
            "has a message 1 whose content is neither text nor a list",
        ),
        ('[{"role":"user","content":" "}]', "has an empty message 1"),
        ('[{"role":"user","content":[{"type":"video"}]}]', "has a block in message 1 that is not text"),
        ('[{"role":"user","content":[{"type":"image"}]}]', "has a block of kind image that holds NoneType"),
        (
            '[{"role":"user","content":[{"type":"image","image":"x"}]}]',
            "has a block of kind image that is no data",
        ),
    ],
)
def test_what_is_no_conversation_rejects_its_row(tmp_path: Path, value: str | None, reason: str) -> None:
    table = rows(m=['[{"role":"user","content":"good"}]', value])
    found, rejected = bodies(table, tmp_path, messages="m")
    assert list(found) == ["r0"]
    [said] = rejected
    assert said.startswith(f"column 'm' {reason}")


def test_system_and_examples_are_templates(tmp_path: Path) -> None:
    found, _ = bodies(
        rows(text=["Fine.", "Bad."], language=["de", "fr"]),
        tmp_path,
        system="Answer in {{ language }}.",
        examples=[("{{ language }}: Good.", "positive"), ("Awful.", "negative")],
        prompt="{{ text }}",
    )
    assert [body["system"] for body in found.values()] == ["Answer in de.", "Answer in fr."]
    said = [[(m["role"], m["content"][0]["text"]) for m in body["messages"]] for body in found.values()]
    assert said[1] == [
        ("user", "fr: Good."),
        ("assistant", "positive"),
        ("user", "Awful."),
        ("assistant", "negative"),
        ("user", "Bad."),
    ]


def test_case_twins_are_two_requests(tmp_path: Path) -> None:
    """In the prompt, and one of them in the system prompt alone."""
    table = rows(Text=["same", "same"], text=["one", "two"])
    for given in ({"prompt": "{{ Text }} / {{ text }}"}, {"prompt": "{{ Text }}", "system": "{{ text }}"}):
        found, rejected = bodies(table, tmp_path / str(len(given)), **given)
        assert (sorted(found), rejected) == (["r0", "r1"], {})


def prompt_of(row: dict[str, Any]) -> Any:
    """A prompt, messages, blocks, or an error, as the row says."""
    how = row["how"]
    if how == "raises":
        raise KeyError(row["text"])
    return {
        "text": f"{row['record_id']}: {row['text']}, {row['list']}",
        "messages": [{"role": "user", "content": row["text"]}],
        "blocks": [{"type": "text", "text": row["text"]}, {"type": "image", "image": PNG}],
        "number": 7,
        "half": "\ud800",
        "half in messages": [{"role": "user", "content": "\udfff"}],
        "no base64": [{"type": "image", "image": "data:image/png;base64,@@é"}],
    }[how]


def test_a_function_makes_the_prompts_when_the_snapshot_is_taken(tmp_path: Path) -> None:
    ways = ["text", "messages", "blocks", "raises", "number", "half", "half in messages", "no base64"]
    found, rejected = bodies(rows(how=ways, text=["secret"] * 8, list=[[1]] * 8), tmp_path, render=prompt_of)
    said = {one: body["messages"][0]["content"] for one, body in found.items()}
    assert said["r0"] == [{"type": "text", "text": "r0: secret, [1]"}]
    assert said["r1"] == [{"type": "text", "text": "secret"}]
    assert [block["type"] for block in said["r2"]] == ["text", "image"]
    assert rejected == {
        "render raised KeyError": 1,
        "render is of type int, not text or a list of messages": 1,
        "render has text that UTF-8 cannot hold": 2,
        "render has a block of kind image that is not base64": 1,
    }


def test_a_function_makes_prompts_for_families_without_conversations(tmp_path: Path) -> None:
    table = rows(how=["text", "messages"], text=["a", "b"], list=[[1], [2]])
    model = "amazon.titan-embed-text-v2:0"
    found, rejected = bodies(table, tmp_path, render=prompt_of, model_id=model)
    assert found == {"r0": {"inputText": "r0: a, [1]"}}
    assert rejected == {"model family titan-embed takes a prompt, not messages": 1}


def test_the_name_of_the_function_and_its_version_are_part_of_the_settings() -> None:
    def frozen(**changes: Any) -> str:
        given = {"name": "p", "model_id": CLAUDE, "render": prompt_of, **changes}
        return freeze(Pipeline.model_validate(given)).content_digest

    assert frozen() == frozen()
    assert len({frozen(), frozen(render_version="2"), frozen(render=_parsed)}) == 3
    with pytest.raises(ConfigurationError, match="a lambda has no name"):
        frozen(render=lambda row: row["text"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"messages": "m", "prompt": "{{ a }}"}, "give one of prompt .* not prompt and messages"),
        (
            {"messages": "m", "model_id": "meta.llama3-1-70b-instruct-v1:0"},
            "does not support messages and examples",
        ),
        (
            {"prompt": "a", "examples": [("a", "b")], "model_id": "amazon.titan-embed-text-v2:0"},
            "does not support messages and examples",
        ),
        ({"model_input": "body", "system": "a"}, "system: they need a prompt"),
    ],
)
def test_ways_that_do_not_go_together_are_an_error_of_the_pipeline(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Pipeline.model_validate({"name": "p", "model_id": CLAUDE, **given})


def test_messages_given_as_a_body_are_rejected_with_the_setting_to_use(tmp_path: Path) -> None:
    table = rows(m=[[{"role": "user", "content": "hi"}]])
    with pytest.raises(
        EmptyDatasetError, match=r"1 rows were rejected.*name it in messages, not in model_input"
    ):
        bodies(table, tmp_path, model_input="m")


def test_a_struct_is_a_body_without_the_nulls_of_other_rows(tmp_path: Path) -> None:
    base = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5}
    texts = [{"type": "text", "text": "hi"}]
    photo = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG64}}
    both = [
        {**base, "messages": [{"role": "user", "content": texts}]},
        {**base, "system": "s", "messages": [{"role": "user", "content": [photo]}]},
    ]
    pq.write_table(rows(body=both), tmp_path / "in.parquet")
    found, rejected = bodies(pq.read_table(tmp_path / "in.parquet"), tmp_path / "out", model_input="body")
    assert rejected == {}
    assert [found["r0"], found["r1"]] == both


def test_a_body_as_json_text_keeps_its_order_and_the_digits_of_its_numbers() -> None:
    text = '{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5,\n "messages": [{"role": "user", "content": "é"}],'
    text += ' "metadata": {"z": 12345678901234567890123, "a": 1.10}}'
    one = Pipeline.model_validate({"name": "p", "model_id": CLAUDE, "model_input": "body"})
    line = RequestTemplate.of(one).line("r", {"body": text})
    assert line == f'{{"recordId":"r","modelInput":{text.replace(chr(10), " ")}}}\n'.encode()
