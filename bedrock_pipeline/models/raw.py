"""Models of no known family: the body is the user's, the answer is kept as it is."""

from typing import Any

from bedrock_pipeline.models.family import BodyError, Family, Json, ModelRequest, ModelResponse


class Raw(Family):
    """Passes the answer through; a prompt cannot be rendered, since nobody knows into what."""

    name = "raw"

    def owns(self, model: str) -> bool:  # noqa: ARG002  # the interface's
        """Every model that no other family owns."""
        return True

    def body(self, model_request: ModelRequest) -> dict[str, Any]:  # noqa: ARG002
        """Refused.

        Raises:
            BodyError: always.
        """
        raise BodyError(
            "The request body of this model is not known.",
            "Give model_input, a column with the whole body, in place of a prompt; or say whose bodies it takes, "
            "with family='claude' or another, or invocation='Converse'.",
        )

    def answer(self, output: Json) -> ModelResponse:  # noqa: ARG002  # kept in raw_output
        """Nothing is read out of it."""
        return ModelResponse()
