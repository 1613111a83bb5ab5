"""Amazon Nova, the understanding models."""

from typing import Any, Final

from bedrock_pipeline.models.converse import Converse
from bedrock_pipeline.models.family import ModelRequest

_MODELS: Final = tuple(
    f"amazon.nova-{name}" for name in ("micro", "lite", "pro", "premier", "2-lite", "2-pro")
)


class Nova(Converse):
    """Converse's shapes, under a version of the schema."""

    name = "nova"
    takes = frozenset({"system", "images", "tool"})

    def owns(self, model: str) -> bool:
        """Nova's understanding models; those for images, video, speech and embeddings have other bodies."""
        return model.startswith(_MODELS)

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """One user turn."""
        return {"schemaVersion": "messages-v1", **super().body(model_request)}
