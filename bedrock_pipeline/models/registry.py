"""From a model id to its family.

What belongs here: the list of families, and taking ids and ARNs apart.
"""

import re

from bedrock_pipeline.models.claude import Claude
from bedrock_pipeline.models.family import Family
from bedrock_pipeline.models.raw import Raw
from bedrock_pipeline.models.titan_embed import TitanEmbed

_FAMILIES: tuple[Family, ...] = (Claude(), TitanEmbed(), Raw())
#: A cross-region inference profile puts its geography before the model: `us.anthropic.…`.
_GEOGRAPHY = re.compile(r"^(global|us-gov|us|eu|apac|jp|au|ca)\.")


def bare_model(model_id: str) -> str:
    """The model behind an id, a foundation model's or inference profile's ARN, or a profile's id."""
    name = model_id.rpartition("/")[2] if model_id.startswith("arn:") else model_id
    return _GEOGRAPHY.sub("", name)


def family_of(model_id: str) -> Family:
    """The family of a model; `Raw` where no other owns it."""
    bare = bare_model(model_id)
    return next(family for family in _FAMILIES if family.owns(bare))
