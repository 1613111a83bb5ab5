"""Embeddings: bodies and responses as the model pages of the user guides have them, and vectors of every type as columns.

Sources: "Amazon Titan Embeddings G1 - Text", "Amazon Titan Multimodal Embeddings G1", "Cohere Embed v3", "Cohere Embed v4"
(Amazon Bedrock user guide); "Complete embeddings request and response schema" (Amazon Nova user guide).
"""

import base64
import shutil
import struct
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.collect.collect_chunk import _vectors
from bedrock_pipeline.collect.collect_output import PART, collect_output
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models import ModelResponse, family_of
from bedrock_pipeline.models.family import ResponseShapeError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.requests.request_template import NotRenderableError, RequestTemplate

TITAN, TITAN_IMAGE = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-image-v1"
COHERE, COHERE_4 = "cohere.embed-english-v3", "us.cohere.embed-v4:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
DATA = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{DATA}"
FLOATS = base64.b64encode(struct.pack("<2f", 0.5, -1.25)).decode()


def pipeline(model_id: str, prompt: str, **changes: Any) -> Pipeline:
    values = {"name": "p", "model_id": model_id, "prompt": prompt, "null_text": "", **changes}
    return Pipeline.model_validate(values)


def body_of(one: Pipeline, text: str | None, *pictures: bytes) -> Any:
    return orjson.loads(RequestTemplate.of(one).line("r", {"text": text}, pictures))["modelInput"]


def nova(**content: Any) -> dict[str, Any]:
    return {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX", **content},
    }


NOVA_IMAGE = {"format": "png", "source": {"bytes": DATA}}
MIXED = [{"type": "image_url", "image_url": URI}, {"type": "text", "text": "a"}]


@pytest.mark.parametrize(
    ("model_id", "prompt", "parameters", "text", "pictures", "body"),
    [
        (TITAN_IMAGE, "{{ text }}", {}, "a", (), {"inputText": "a"}),
        (TITAN_IMAGE, "{{ text }}", {}, "a", (PNG,), {"inputText": "a", "inputImage": DATA}),
        (TITAN_IMAGE, "{{ text }}", {}, None, (PNG,), {"inputImage": DATA}),
        (
            TITAN_IMAGE,
            "",
            {"embeddingConfig": {"outputEmbeddingLength": 384}},
            None,
            (PNG,),
            {"inputImage": DATA, "embeddingConfig": {"outputEmbeddingLength": 384}},
        ),
        (COHERE, "{{ text }}", {}, "a", (), {"input_type": "search_document", "texts": ["a"]}),
        (COHERE, "", {}, None, (PNG,), {"input_type": "image", "images": [URI]}),
        (
            COHERE_4,
            "{{ text }}",
            {"output_dimension": 512, "embedding_types": ["int8"]},
            "a",
            (PNG,),
            {
                "input_type": "search_document",
                "output_dimension": 512,
                "embedding_types": ["int8"],
                "inputs": [{"content": MIXED}],
            },
        ),
        (COHERE_4, "{{ text }}", {}, None, (PNG,), {"input_type": "search_document", "images": [URI]}),
        (COHERE_4, "{{ text }}", {}, "a", (), {"input_type": "search_document", "texts": ["a"]}),
        (NOVA, "{{ text }}", {}, "a", (), nova(text={"truncationMode": "NONE", "value": "a"})),
        (
            NOVA,
            "{{ text }}",
            {"embeddingDimension": 384, "truncationMode": "END"},
            "a",
            (),
            nova(embeddingDimension=384, text={"truncationMode": "END", "value": "a"}),
        ),
        (
            NOVA,
            "",
            {"embeddingPurpose": "CLUSTERING"},
            None,
            (PNG,),
            nova(image=NOVA_IMAGE, embeddingPurpose="CLUSTERING"),
        ),
    ],
)
def test_a_row_becomes_the_documented_body(  # a column of the table each
    model_id: str,
    prompt: str,
    parameters: dict[str, Any],
    text: str | None,
    pictures: tuple[bytes, ...],
    body: dict[str, Any],
) -> None:
    one = pipeline(model_id, prompt, parameters=parameters, images=("photo",) if pictures else ())
    assert body_of(one, text, *pictures) == body


@pytest.mark.parametrize(
    ("model_id", "changes", "said"),
    [
        (COHERE, {"images": ("photo",)}, "a text or an image, not both"),
        (NOVA, {"images": ("photo",)}, "a text or an image, not both"),
        (TITAN, {"images": ("photo",)}, "takes only text"),
        (TITAN_IMAGE, {"parameters": {"embeddingConfig": {"outputEmbeddingLength": 512}}}, "512 dimensions"),
        (COHERE_4, {"parameters": {"output_dimension": 384}}, "384 dimensions"),
        (NOVA, {"parameters": {"embeddingDimension": 512}}, "512 dimensions"),
        (TITAN, {"parameters": {"dimensions": 384}}, "384 dimensions"),
        (NOVA, {"system": "be brief"}, "system prompt"),
    ],
)
def test_what_a_model_does_not_take_is_an_error_where_it_is_written(
    model_id: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        pipeline(model_id, "{{ text }}", **changes)


def test_a_second_image_rejects_its_row() -> None:
    with pytest.raises(NotRenderableError, match="2 images, and the model takes 1"):
        body_of(pipeline(TITAN_IMAGE, "", images=("photo",)), None, PNG, PNG)


@pytest.mark.parametrize(
    ("model_id", "output", "read"),
    [
        (
            TITAN,
            {
                "embedding": [0.5],
                "embeddingsByType": {"float": [0.5], "binary": [1]},
                "inputTextTokenCount": 3,
            },
            ModelResponse(embedding=[0.5], vectors={"binary": [1]}, input_tokens=3, output_tokens=0),
        ),
        (
            TITAN,
            {"embeddingsByType": {"binary": [0, 1]}, "inputTextTokenCount": 3},
            ModelResponse(vectors={"binary": [0, 1]}, input_tokens=3, output_tokens=0),
        ),
        (
            TITAN_IMAGE,
            {"embedding": [0.5], "inputTextTokenCount": 3, "message": None},
            ModelResponse(embedding=[0.5], input_tokens=3, output_tokens=0),
        ),
        (
            COHERE,
            {"embeddings": [[0.5]], "id": "x", "response_type": "embeddings_floats", "texts": ["a"]},
            ModelResponse(embedding=[0.5], output_tokens=0),
        ),
        (
            COHERE_4,
            {
                "embeddings": {
                    "float": [[0.5]],
                    "int8": [[-128, 127]],
                    "uint8": [[0, 255]],
                    "binary": [[-128]],
                    "ubinary": [[255]],
                },
                "response_type": "embeddings_by_type",
            },
            ModelResponse(
                embedding=[0.5],
                vectors={"int8": [-128, 127], "uint8": [0, 255], "binary": [-128], "ubinary": [255]},
                output_tokens=0,
            ),
        ),
        (
            COHERE_4,
            {"embeddings": {"float": None, "int8": [[1]]}},
            ModelResponse(vectors={"int8": [1]}, output_tokens=0),
        ),
        (
            COHERE_4,
            {"embeddings": {"base64": [FLOATS]}},
            ModelResponse(embedding=[0.5, -1.25], output_tokens=0),
        ),
        (
            NOVA,
            {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5]}]},
            ModelResponse(embedding=[0.5], output_tokens=0),
        ),
    ],
)
def test_a_response_of_the_documented_form_is_read(
    model_id: str, output: dict[str, Any], read: ModelResponse
) -> None:
    assert family_of(model_id).answer(output) == read


@pytest.mark.parametrize(
    ("model_id", "output", "said"),
    [
        (TITAN, {"embeddingsByType": {}}, "no embedding"),
        (TITAN, {"embeddingsByType": {"binary": [0.5]}}, "not a list of whole numbers"),
        (TITAN_IMAGE, {"message": "The image is too large"}, "no embedding: The image is too large"),
        (COHERE_4, {"embeddings": {"int8": [[128]]}}, "beyond -128 to 127"),
        (COHERE_4, {"embeddings": {"uint8": [[-1]]}}, "beyond 0 to 255"),
        (COHERE_4, {"embeddings": {"int8": [[True]]}}, "not a list of whole numbers"),
        (COHERE_4, {"embeddings": {"base64": ["abc"]}}, "no array of 32-bit floats"),
        (COHERE_4, {"embeddings": {"base64": [FLOATS[:-5] + "="]}}, "no array of 32-bit floats"),
        (COHERE_4, {"embeddings": {"other": [[1]]}}, "no known type"),
        (NOVA, {"embeddings": []}, "0 embeddings, not one"),
        (NOVA, {"embeddings": [{"embedding": [1]}, {"embedding": [1]}]}, "2 embeddings, not one"),
    ],
)
def test_a_response_of_another_form_is_an_error_of_its_record(
    model_id: str, output: dict[str, Any], said: str
) -> None:
    with pytest.raises(ResponseShapeError, match=said):
        family_of(model_id).answer(output)


def collected(one: Pipeline, outputs: list[Any], folder: Path) -> pa.Table:
    lines = [
        orjson.dumps({"recordId": f"r{number}", "modelOutput": output})
        for number, output in enumerate(outputs)
    ]
    metadata = ChunkMetadata(
        one.model_family, "m", "k", "arn", 1, ("missing", "no line"), vectors=_vectors(one)
    )
    index = pa.table({"record_id": [f"r{number}" for number in range(len(outputs) + 1)]})
    part = folder / "part.parquet"

    def put(path: Path, name: str) -> None:
        if name == PART:
            shutil.copy(path, part)

    collect_output(
        lambda: iter([("f", buffers_of(lines))]),
        index,
        metadata,
        put,
    )
    return pq.read_table(part)


def test_vectors_of_several_types_stand_side_by_side(tmp_path: Path) -> None:
    kinds = {"embedding_types": ["float", "int8", "ubinary"]}
    one = pipeline(COHERE_4, "{{ text }}", parameters=kinds)
    typed = {"float": [[0.5, 1.0]], "int8": [[-1, 2]], "ubinary": [[255]]}
    table = collected(one, [{"embeddings": typed}, {"embeddings": {**typed, "int8": [[1]]}}], tmp_path)
    assert {name: table.schema.field(name).type for name in table.column_names if "embedding" in name} == {
        "embedding_int8": pa.list_(pa.int8(), 2),
        "embedding_ubinary": pa.list_(pa.uint8(), 1),
        "embedding": pa.list_(pa.float32(), 2),
    }
    first, second, third = table.sort_by("record_id").to_pylist()
    assert (first["embedding"], first["embedding_int8"], first["embedding_ubinary"]) == (
        [0.5, 1.0],
        [-1, 2],
        [255],
    )
    assert (second["error_code"], second["embedding_int8"]) == ("answer-shape", None)
    assert (third["error_code"], third["embedding"]) == ("missing", None)


def test_vectors_of_whole_numbers_alone_leave_the_floats_null(tmp_path: Path) -> None:
    one = pipeline(TITAN, "{{ text }}", parameters={"embeddingTypes": ["binary"]})
    table = collected(one, [{"embeddingsByType": {"binary": [0, 1, 1]}, "inputTextTokenCount": 2}], tmp_path)
    [row, _] = table.sort_by("record_id").to_pylist()
    assert (row["status"], row["embedding"], row["embedding_binary"]) == ("succeeded", None, [0, 1, 1])
    assert row["input_tokens"] == 2


def test_requested_types_have_columns_where_no_record_was_answered(tmp_path: Path) -> None:
    one = pipeline(TITAN, "{{ text }}", parameters={"embeddingTypes": ["binary", "float"]})
    table = collected(one, [], tmp_path)
    assert table.schema.field("embedding_binary").type == pa.list_(pa.int8())


def test_types_in_bodies_of_the_users_own_are_found_in_the_output(tmp_path: Path) -> None:
    one = Pipeline(name="p", model_id=COHERE_4, model_input="body")
    outputs = [{"embeddings": {"int8": [[1]]}}, {"embeddings": {"uint8": [[2]]}}]
    rows = collected(one, outputs, tmp_path).sort_by("record_id").to_pylist()
    assert [(row["embedding_int8"], row["embedding_uint8"]) for row in rows] == [
        ([1], None),
        (None, [2]),
        (None, None),
    ]
