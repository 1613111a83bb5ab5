"""Models of no known family: the body is the user's, the output is kept unchanged."""

from typing import Any

from bedrock_pipeline.models.family import BodyError, Family, Json, ModelRequest, ModelResponse


class Raw(Family):
    """Keeps the output unchanged; a prompt cannot be rendered, because the shape of the body is unknown."""

    name = "raw"

    def owns(self, model: str) -> bool:  # noqa: ARG002  # the interface's
        """Every model that no other family owns."""
        return True

    def body(self, model_request: ModelRequest) -> dict[str, Any]:  # noqa: ARG002
        """Not supported.

        Raises:
            BodyError: always.
        """
        raise BodyError("The request body of this model is not known.", "Give the whole body (model_input).")

    def answer(self, output: Json) -> ModelResponse:  # noqa: ARG002  # kept in raw_output
        """Empty: the results have the output in `raw_output`."""
        return ModelResponse()
