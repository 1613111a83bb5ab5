"""Models of no known family: the body is the user's, the answer is kept as it is."""

from typing import Any

from bedrock_pipeline.models.family import Answer, BodyError, Json


class Raw:
    """Passes the answer through; a prompt cannot be rendered, since nobody knows into what."""

    name = "raw"
    embeds = False

    def owns(self, model: str) -> bool:  # noqa: ARG002  # the interface's
        """Every model that no other family owns."""
        return True

    def body(self, prompt: str, system: str | None, parameters: Json) -> dict[str, Any]:  # noqa: ARG002
        """Refused.

        Raises:
            BodyError: always.
        """
        raise BodyError(
            "The request body of this model is not known.",
            "Give model_input, a column with the whole body, in place of a prompt.",
        )

    def answer(self, output: Json) -> Answer:  # noqa: ARG002  # kept in raw_output
        """Nothing is read out of it."""
        return Answer()
