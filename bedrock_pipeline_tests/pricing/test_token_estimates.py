"""Guessing tokens from text."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.models import family_of
from bedrock_pipeline.pricing.token_estimates import Sample, sampled

CLAUDE, TITAN, LLAMA = (
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.titan-embed-text-v2:0",
    "meta.llama3-3-70b-instruct-v1:0",
)
IMAGE = "iVBORw0KGgo" + "A" * 40_000


def line(body: dict[str, Any]) -> bytes:
    return json.dumps({"recordId": "r", "modelInput": body}, ensure_ascii=False).encode() + b"\n"


def claude(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": list(content)}],
        **more,
    }


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def document(source: dict[str, Any]) -> dict[str, Any]:
    return {"type": "document", "source": source}


def pdf(data: bytes) -> dict[str, Any]:
    return {"type": "base64", "media_type": "application/pdf", "data": base64_of(data)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("model_id", "body", "expected"),
    [
        (CLAUDE, claude(text("x" * 350)), (100, 200)),
        (CLAUDE, claude(text("x" * 350), system="y" * 35), (110, 200)),
        (CLAUDE, claude(text("ж" * 175)), (100, 200)),
        (
            CLAUDE,
            claude(text("x" * 350), {"type": "image", "source": {"type": "base64", "data": IMAGE}}),
            (1700, 200),
        ),
        (
            CLAUDE,
            claude(document({"type": "text", "media_type": "text/plain", "data": "x" * 3500})),
            (1000, 200),
        ),
        (CLAUDE, claude(document(pdf(b"<< /Type /Pages >> << /Type /Page >> <</Type/Page>>"))), (7000, 200)),
        (CLAUDE, claude(document(pdf(b"x" * 150_000))), (10_500, 200)),
        (
            CLAUDE,
            claude(document({"type": "base64", "media_type": "application/pdf", "data": "@@é" * 3})),
            (3500, 200),
        ),
        (
            "amazon.nova-lite-v1:0",
            {
                "messages": [
                    {
                        "content": [
                            {"document": {"format": "csv", "source": {"bytes": base64_of(b"x" * 3000)}}}
                        ]
                    }
                ]
            },
            (750, 512),
        ),
        ("amazon.titan-embed-image-v1", {"inputImage": IMAGE}, (1600, 0)),
        (TITAN, {"inputText": "x" * 470, "dimensions": 256}, (100, 0)),
        (LLAMA, {"prompt": "x" * 400, "max_gen_len": 64}, (100, 64)),
        (LLAMA, {"prompt": "x" * 400}, (100, 512)),
        (
            "amazon.nova-lite-v1:0",
            {"messages": [{"content": [{"text": "x" * 400}]}], "inferenceConfig": {"maxTokens": 7}},
            (100, 7),
        ),
        ("acme.model-v1:0", {"anything": ["x" * 200, {"else": "x" * 200}]}, (100, 512)),
    ],
)
def test_a_line_is_guessed_from_what_the_model_reads(
    model_id: str, body: dict[str, Any], expected: tuple[int, int]
) -> None:
    sample, data = Sample(family_of(model_id)), line(body)
    sample.add(data)
    assert sample.guess(1, len(data)) == expected


def test_a_sample_speaks_for_the_rest_by_bytes_and_by_records() -> None:
    sample = Sample(family_of(CLAUDE))
    data = line(claude(text("x" * 350)))
    sample.add(data)
    assert sample.guess(1000, 1000 * len(data)) == (100_000, 200_000)
    assert Sample(family_of(CLAUDE)).guess(10, 1000) == (0, 0)


@pytest.mark.parametrize("count", [3, 5_000])
def test_lines_are_sampled_whole_and_from_everywhere(tmp_path: Path, count: int) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"".join(line(claude(text(f"{number} " * 20))) for number in range(count)))
    found = list(sampled(path, path.stat().st_size))
    assert len(found) == min(count, 100)
    assert all(json.loads(one)["recordId"] == "r" for one in found)
    numbers = [
        int(json.loads(one)["modelInput"]["messages"][0]["content"][0]["text"].split()[0]) for one in found
    ]
    assert numbers == sorted(set(numbers)), "none of them twice"
    assert (numbers[0], numbers[-1] >= count * 0.98) == (0, True) or count == 3


def test_texts_of_different_lengths_in_order_do_not_mislead_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines = [line(claude(text("x" * (number + 1)))) for number in range(3_000)]
    path.write_bytes(b"".join(lines))
    sample = Sample(family_of(CLAUDE))
    for one in sampled(path, path.stat().st_size):
        sample.add(one)
    guessed, _ = sample.guess(len(lines), sum(map(len, lines)))
    assert guessed == pytest.approx(sum(range(3_001)) / 3.5, rel=0.05)
