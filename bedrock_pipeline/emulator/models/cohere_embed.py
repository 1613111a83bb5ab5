"""Cohere Embed: a list of texts and a list of vectors.

Source: "Cohere Embed models", Amazon Bedrock user guide.
"""

from bedrock_pipeline.emulator.models.reply import (
    Body,
    Reply,
    digest,
    malformed,
    refuse_extra,
    tokens,
    vector,
)

PREFIXES = ("cohere.embed",)
_MEMBERS = ("texts", "input_type", "truncate", "embedding_types", "output_dimension", "max_tokens")
_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering")
_MOST_TEXTS, _SIZE = 96, 1024


def answer(body: Body) -> Reply:
    """A vector for each text; with `embedding_types`, below their type."""
    refuse_extra(body, _MEMBERS)
    texts = body.get("texts")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise malformed("#: required key [texts] not found")
    if len(texts) > _MOST_TEXTS:
        raise malformed(f"#/texts: expected at most {_MOST_TEXTS} items")
    if body.get("input_type") not in _INPUT_TYPES:
        raise malformed("#: required key [input_type] not found")
    vectors = [vector(text, body.get("output_dimension", _SIZE)) for text in texts]
    typed = "embedding_types" in body
    return Reply(
        {
            "id": digest("\n".join(texts))[:32],
            "texts": texts,
            "embeddings": {"float": vectors} if typed else vectors,
            "response_type": "embeddings_by_type" if typed else "embeddings_floats",
        },
        sum(tokens(text) for text in texts),
        0,
    )
