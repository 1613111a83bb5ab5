"""Model families: a request body in, a typed answer out.

What belongs here: one file a family, finding the family of a model id, the schema of structured answers, and prices.
What does not: prompts, AWS.
"""

from bedrock_pipeline.models.family import AnswerFormat, BodyError, Family, ModelRequest, ModelResponse
from bedrock_pipeline.models.registry import family_of

__all__ = ["AnswerFormat", "BodyError", "Family", "ModelRequest", "ModelResponse", "family_of"]
