"""Model families: from a model request to a body, from an output to a model response."""

from bedrock_pipeline.models.family import AnswerFormat, BodyError, Family, ModelRequest, ModelResponse, Turn
from bedrock_pipeline.models.registry import family_of

__all__ = ["AnswerFormat", "BodyError", "Family", "ModelRequest", "ModelResponse", "Turn", "family_of"]
