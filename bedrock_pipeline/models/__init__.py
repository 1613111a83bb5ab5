"""Model families: a request body in, a typed answer out.

What belongs here: one file a family, finding the family of a model id, and prices. What does not: prompts, AWS.
"""

from bedrock_pipeline.models.family import Answer, BodyError, Family
from bedrock_pipeline.models.registry import family_of

__all__ = ["Answer", "BodyError", "Family", "family_of"]
