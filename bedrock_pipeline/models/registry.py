"""From a model id to its family."""

from collections.abc import Mapping

from bedrock_pipeline.models.catalog import card_of
from bedrock_pipeline.models.chat import Chat
from bedrock_pipeline.models.claude import Claude
from bedrock_pipeline.models.cohere_embed import CohereEmbed, CohereEmbed4
from bedrock_pipeline.models.converse import Converse
from bedrock_pipeline.models.family import BodyError, Family
from bedrock_pipeline.models.llama import Llama
from bedrock_pipeline.models.mistral import Mistral
from bedrock_pipeline.models.model_ids import bare_model
from bedrock_pipeline.models.nova import Nova
from bedrock_pipeline.models.nova_embed import NovaEmbed
from bedrock_pipeline.models.raw import Raw
from bedrock_pipeline.models.titan_embed import TitanEmbed, TitanImageEmbed

#: The first family that owns a model is used; the last one owns every model.
FAMILIES: tuple[Family, ...] = (
    *(Claude(), TitanEmbed(), Nova(), Llama(), Mistral(), Chat()),
    *(TitanImageEmbed(), NovaEmbed(), CohereEmbed4(), CohereEmbed()),
    Raw(),
)
_CONVERSE = Converse()
#: All families by name, also the one that follows from the type of the job.
NAMED: Mapping[str, Family] = {family.name: family for family in (*FAMILIES, _CONVERSE)}


def family_of(model_id: str, *, converse: bool = False, name: str | None = None) -> Family:
    """The family of a model id or ARN; `Raw` if no other owns it, `Converse` for jobs of that invocation type.

    The catalog has the families of the models that it knows; those of later ones follow from the beginning of the id. A `name` selects the family of an ARN that does not name a model.

    Raises:
        BodyError: there is no family of that name.
    """
    if converse:
        return _CONVERSE
    if name is None and (card := card_of(model_id)):
        name = card.family
    if name is None:
        bare = bare_model(model_id)
        return next(family for family in FAMILIES if family.owns(bare))
    named = {family.name: family for family in FAMILIES}
    if name not in named:
        raise BodyError(f"There is no model family {name!r}.", f"Families are: {', '.join(named)}.")
    return named[name]
