"""From a model id to its family."""

import re

from bedrock_pipeline.models.chat import Chat
from bedrock_pipeline.models.claude import Claude
from bedrock_pipeline.models.cohere_embed import CohereEmbed
from bedrock_pipeline.models.converse import Converse
from bedrock_pipeline.models.family import BodyError, Family
from bedrock_pipeline.models.llama import Llama
from bedrock_pipeline.models.mistral import Mistral
from bedrock_pipeline.models.nova import Nova
from bedrock_pipeline.models.raw import Raw
from bedrock_pipeline.models.titan_embed import TitanEmbed

#: The first family that owns a model is used; the last one owns every model.
FAMILIES: tuple[Family, ...] = (
    *(Claude(), TitanEmbed(), Nova(), Llama(), Mistral(), Chat(), CohereEmbed()),
    Raw(),
)
_CONVERSE = Converse()
#: A cross-region inference profile puts its geography before the model: `us.anthropic.…`. No provider has two letters.
_GEOGRAPHY = re.compile(r"^(?:global|us-gov|apac|[a-z]{2})\.")


def without_geography(model_id: str) -> str:
    """The id of the model behind the id of a cross-region inference profile; any other id as it is."""
    return _GEOGRAPHY.sub("", model_id)


def bare_model(model_id: str) -> str:
    """The model behind an id, a profile's id, or the ARN of a foundation model, profile or custom model.

    For an ARN that does not name a model, such as an application inference profile's, this is its last part.
    """
    # The ARN of a custom model ends in `custom-model/<base model>/<id>`, the others in `<kind>/<model>`.
    name = model_id.split("/")[1] if model_id.startswith("arn:") and "/" in model_id else model_id
    return without_geography(name)


def family_of(model_id: str, *, converse: bool = False, name: str | None = None) -> Family:
    """The family of a model id or ARN; `Raw` if no other owns it, `Converse` for jobs of that invocation type.

    A `name` selects the family of an ARN that does not name a model.

    Raises:
        BodyError: there is no family of that name.
    """
    if converse:
        return _CONVERSE
    if name is None:
        bare = bare_model(model_id)
        return next(family for family in FAMILIES if family.owns(bare))
    named = {family.name: family for family in FAMILIES}
    if name not in named:
        raise BodyError(f"There is no model family {name!r}.", f"Families are: {', '.join(named)}.")
    return named[name]
