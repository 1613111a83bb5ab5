"""Amazon Titan Text Embeddings.

Source: "Amazon Titan Embeddings Text", Amazon Bedrock user guide.
"""

from bedrock_pipeline.emulator.models.reply import Body, Reply, malformed, tokens, vector

PREFIXES = ("amazon.titan-embed-text",)
_SIZES = (256, 512, 1024)


def answer(body: Body) -> Reply:
    """A vector; there is no `usage`."""
    text = body.get("inputText")
    if not isinstance(text, str) or not text:
        raise malformed("#: required key [inputText] not found")
    size = body.get("dimensions", 1024)
    if size not in _SIZES:
        raise malformed("#/dimensions: not a valid enum value")
    values = vector(text, size, normalize=body.get("normalize", True))
    counted = tokens(text)
    return Reply(
        {"embedding": values, "embeddingsByType": {"float": values}, "inputTextTokenCount": counted},
        counted,
        0,
    )
