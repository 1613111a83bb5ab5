"""Amazon Nova, the understanding models."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from bedrock_pipeline.models.converse import Converse
from bedrock_pipeline.models.family import ModelRequest

_MODELS: Final = tuple(
    f"amazon.nova-{name}" for name in ("micro", "lite", "pro", "premier", "2-lite", "2-pro")
)


class Nova(Converse):
    """Converse's shapes, under a version of the schema."""

    name = "nova"
    #: Documents are taken by the Converse API only.
    takes = frozenset({"system", "turns", "images", "tool"})
    common: ClassVar[Mapping[str, str]] = {**Converse.common, "top_k": "topK"}
    inference: ClassVar[frozenset[str]] = Converse.inference | {"topK"}

    def owns(self, model: str) -> bool:
        """Nova's understanding models; those for images, video, speech and embeddings have other bodies."""
        return model.startswith(_MODELS)

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The conversation."""
        return {"schemaVersion": "messages-v1", **super().body(model_request)}

    def document(self, kind: str, name: str, data: bytes) -> dict[str, Any]:  # noqa: ARG002  # the interface's
        """Not in its own body.

        Raises:
            BodyError: always.
        """
        raise self._unsupported("documents")
