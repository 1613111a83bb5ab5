"""Documents, and vectors of texts and images: every line is a documented rule, or the words that a user reported."""

import base64
from typing import Any

import pytest

from bedrock_pipeline_tests.emulator.test_models import (
    COHERE,
    COHERE_4,
    HAIKU_45,
    NOVA,
    NOVA_EMBED,
    PNG,
    STRICT,
    TAKEN,
    TITAN,
    TITAN_1,
    TITAN_IMAGE,
    blocks,
    check,
    claude,
    nova_embed,
    text,
)


def pdf(pages: int = 1, start: bytes = b"%PDF-1.7\n") -> str:
    return base64.b64encode(start + b"<< /Type /Page >>\n" * pages + b"<< /Type /Pages >>").decode()


def document(
    given: dict[str, Any] | str = "", *, data: str | None = None, form: str = "pdf"
) -> dict[str, Any]:
    """A document of Converse's, by its name or by its members."""
    named = {"name": given or "report", "format": form, "source": {"bytes": data or pdf()}}
    return {"document": given if isinstance(given, dict) else named}


def native_document(data: str, media: str = "application/pdf") -> dict[str, Any]:
    return {"type": "document", "source": {"type": "base64", "media_type": media, "data": data}}


SAID = {"text": "what is this?"}


DOCUMENTS: list[tuple[str, dict[str, Any], str | None]] = [
    # documents: the limits are those of the pages that `documents.py` names, the words those that users report
    (HAIKU_45, claude(**blocks(native_document(pdf(100)), {"type": "text", "text": "a"})), TAKEN),
    (HAIKU_45, claude(**blocks(native_document(pdf(101)))), "A maximum of 100 PDF pages may be provided."),
    (HAIKU_45, claude(**blocks(native_document(pdf(start=b"PK")))), "The PDF specified was not valid."),
    (HAIKU_45, claude(**blocks(native_document(pdf(), "text/csv"))), "Input should be 'application/pdf'"),
    (HAIKU_45, blocks(SAID, document()), TAKEN),
    (HAIKU_45, blocks(document()), "A text block is required in a message that includes a document."),
    (HAIKU_45, blocks(SAID, document("a.pdf")), "The document file name can only contain alphanumeric characters"),
    (HAIKU_45, blocks(SAID, document("a  b")), "can't contain more than one consecutive whitespace character"),
    (HAIKU_45, blocks(SAID, document("a"), document("a")), "Messages can't contain duplicate document names."),
    (HAIKU_45, blocks(SAID, *(document(f"a{n}") for n in range(6))), "can't include more than 5 documents in a request"),
    (HAIKU_45, blocks(SAID, document(data=PNG, form="csv")), TAKEN),
    (HAIKU_45, blocks(SAID, document(form="pptx")), "Value 'pptx' at 'messages.1.member.content.2.member.document.format'"),
    (HAIKU_45, blocks(SAID, document(data="A" * 6_000_004)), "larger than 4500000 bytes"),
    (NOVA, blocks(SAID, document(data=pdf(300_000)[:8_000_000])), "A maximum of 100 PDF pages"),
    (NOVA, blocks(SAID, *(document(f"a{n}", data="A" * 8_000_000, form="docx") for n in range(5))), "larger than"),
    ("amazon.nova-micro-v1:0", blocks(SAID, document()), "does not support document input"),
]  # fmt: skip
EMBEDDINGS: list[tuple[str, dict[str, Any], str | None]] = [
    (TITAN, {"inputText": "a" * 32_000}, TAKEN),
    (TITAN, {"inputText": "a" * 50_001}, "expected maxLength: 50000, actual: 50001"),
    (TITAN, {"inputText": "a" * 40_000}, "Too many input tokens. Max input tokens: 8192, request input token count: 10000"),
    (TITAN, {"inputText": ""}, "expected minLength: 1, actual: 0"),
    (TITAN, {"inputText": "a", "embeddingTypes": ["int8"]}, "#/embeddingTypes: not a valid enum value"),
    (TITAN, {"inputText": "a", "input_type": "x"}, "#: extraneous key [input_type] is not permitted"),
    (TITAN_1, {"inputText": "a", "dimensions": 256}, "#: extraneous key [dimensions] is not permitted"),
    (TITAN_IMAGE, {"inputImage": PNG}, TAKEN),
    (TITAN_IMAGE, {}, "required key [inputText] or [inputImage] not found"),
    (COHERE, {"texts": ["a" * 2049], "input_type": "search_query", "truncate": "END"}, "#/texts/0: expected maxLength: 2048"),
    (COHERE_4, {"texts": ["a" * 2049], "input_type": "search_query"}, TAKEN),
    (COHERE, {"texts": ["a"] * 97, "input_type": "search_query"}, "expected maximum item count: 96, found: 97"),
    (COHERE, {"texts": ["a"], "input_type": "search_query", "output_dimension": 256}, "[output_dimension]"),
    (COHERE, {"images": [f"data:image/png;base64,{PNG}"], "input_type": "image"}, TAKEN),
    (COHERE_4, {"inputs": [{"content": [{"type": "text", "text": "a"}]}], "input_type": "search_query"}, TAKEN),
    (COHERE, text("a"), "The model does not support the Converse API."),
    (NOVA_EMBED, nova_embed(text={"truncationMode": "END", "value": "a"}), TAKEN),
    (NOVA_EMBED, nova_embed(text={"truncationMode": "END", "value": "a" * 8193}), "expected maxLength: 8192, actual: 8193"),
    (NOVA_EMBED, nova_embed(text={"value": "a"}), "required key [truncationMode] not found"),
    (NOVA_EMBED, nova_embed(text={"truncationMode": "END", "value": "a"}, embeddingDimension=512), "embeddingDimension: not a"),
    (NOVA_EMBED, {**nova_embed(), "taskType": "SEGMENTED_EMBEDDING"}, "#/taskType: not a valid enum value"),
    (NOVA_EMBED, nova_embed(), "expected one of [text], [image], [audio] or [video], found 0"),
    (NOVA_EMBED, nova_embed(image={"format": "png", "source": {"bytes": PNG}}, embeddingPurpose="PICTURES"), "Purpose: not a"),
    (NOVA_EMBED, nova_embed(image={"format": "png", "source": {"bytes": PNG}, "detailLevel": "DOCUMENT_IMAGE"}), TAKEN),
    (NOVA_EMBED, nova_embed(video={"format": "mp4", "source": {"s3Location": {"uri": "s3://b/a.mp4"}}}), "[embeddingMode]"),
    (NOVA_EMBED, {"inputText": "a"}, "#: extraneous key [inputText] is not permitted"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "said"), DOCUMENTS + EMBEDDINGS)
def test_a_document_or_an_input_of_a_vector_is_taken_or_rejected(
    model: str, body: dict[str, Any], said: str | None
) -> None:
    check(model, body, said)


def test_a_video_whose_sound_is_apart_has_two_vectors() -> None:
    video = {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/a.mp4"}}}
    for mode, types in (
        ("AUDIO_VIDEO_COMBINED", ["AUDIO_VIDEO_COMBINED"]),
        ("AUDIO_VIDEO_SEPARATE", ["AUDIO", "VIDEO"]),
    ):
        found = STRICT.answer(NOVA_EMBED, nova_embed(video={**video, "embeddingMode": mode})).body[
            "embeddings"
        ]
        assert [one["embeddingType"] for one in found] == types
        assert {len(one["embedding"]) for one in found} == {3072}


def test_values_of_each_type_of_vector() -> None:
    kinds = ["float", "int8", "uint8", "binary", "ubinary"]
    body = {"texts": ["a"], "input_type": "search_query", "embedding_types": kinds, "output_dimension": 256}
    found = STRICT.answer(COHERE_4, body).body["embeddings"]
    assert {kind: len(found[kind][0]) for kind in kinds} == {
        **dict.fromkeys(("float", "int8", "uint8"), 256),
        **dict.fromkeys(("binary", "ubinary"), 32),
    }
    assert min(found["int8"][0]) < 0 <= min(found["ubinary"][0])
    assert found["binary"][0] == [byte - 128 for byte in found["ubinary"][0]]
    bits = STRICT.answer(TITAN, {"inputText": "a", "embeddingTypes": ["binary", "float"]}).body[
        "embeddingsByType"
    ]
    assert set(bits["binary"]) == {0, 1}
    assert len(bits["binary"]) == len(bits["float"]) == 1024
