"""What a model rejects in a request body, as far as it is known: one rule for prompts, given bodies and queue tasks.

What belongs here: the decision whether a body can be sent, and why not. It knows the shape of the family's body and what
`catalog.toml` says about the model; of a model that it does not have, it checks the shape alone.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedrock_pipeline.models.body_members import INFERENCE, MAX_TOKENS, MEMBERS, NESTED, NOT_CHAT, REQUIRED
from bedrock_pipeline.models.catalog import ModelCard, card_of
from bedrock_pipeline.models.content_rules import ContentRules
from bedrock_pipeline.models.family import Family, Json
from bedrock_pipeline.models.member_values import value_problems
from bedrock_pipeline.models.model_ids import bare_model
from bedrock_pipeline.records.bounded_texts import named

_LEAST_BUDGET: Final = 1024
_LEAST_TOP_P: Final = 0.95
_THINKING: Final = ("enabled", "adaptive", "disabled")
_NOT_WITH_HIGH_EFFORT: Final = frozenset({"maxTokens", "temperature", "topP", "topK"})


@dataclass(frozen=True, slots=True)
class BodyRules:
    """The rules for the bodies of a pipeline.

    Attributes:
        family: of the bodies.
        model_id: id or ARN.
        check_model: whether anything is checked.
    """

    family: Family
    model_id: str
    check_model: bool = True

    def problem(self, body: Json) -> str | None:
        """Why a whole body would be rejected; None if nothing is known against it. It names members, never values."""
        return self.settings_problem(body) or self.content_problem(body)

    def settings_problem(self, body: Json) -> str | None:
        """Why a body would be rejected whatever its prompt is."""
        return next(self._settings(body), None) if self.check_model else None

    def content_problem(self, body: Json) -> str | None:
        """Why a body would be rejected for its messages, its images or its documents."""
        if not self.check_model:
            return None
        return self._prefill(body) or self.content.problem(body)

    @property
    def content(self) -> ContentRules:
        """The rules about texts, images and documents."""
        card = card_of(self.model_id)
        if card is None:
            return ContentRules(self.family.name)
        return ContentRules(
            self.family.name,
            inputs=card.input,
            context=card.context,
            characters=card.characters,
            large_documents=card.large_documents,
        )

    @property
    def safe_bytes(self) -> float:
        """A body of at most this many bytes of JSON, with one text and no image, is not too long for the model."""
        return self.content.safe_bytes if self.check_model else math.inf

    def _settings(self, body: Json) -> Iterator[str]:
        name = self.family.name
        if missing := [member for member in REQUIRED.get(name, ()) if member not in body]:
            yield f"the body has no {missing[0]}"
        yield from self._unknown(body)
        yield from value_problems(name, body)
        yield from self._reasoning(body)
        if name in ("claude", "converse", "nova") and _has_cache_points(body):
            yield "cache_control and cachePoint have no effect in batch jobs but errors; leave them out"
        if name == "claude":
            yield from self._claude(body, body.get("max_tokens"), body.get("tool_choice"))
        if name in ("converse", "nova"):
            yield from self._inference(body)
        for limit in MAX_TOKENS.get(name, ()):
            yield from self._max_tokens(body.get(limit), limit)

    def _unknown(self, body: Json) -> Iterator[str]:
        name = self.family.name
        if name == "chat":
            unknown = sorted(NOT_CHAT & body.keys())
        else:
            unknown = [member for member in body if member not in MEMBERS.get(name, body.keys())]
        if not unknown:
            for place, known in NESTED.get(name, {}).items():
                inner = body.get(place)
                others = sorted(inner.keys() - known) if isinstance(inner, Mapping) else ()
                if others:
                    yield f"{place} has no {named(others[0])}; it has: {', '.join(sorted(known))}"
            return
        if unknown[0] in ("top_k", "topK") and name == "converse":
            yield _CONVERSE_TOP_K
        if unknown[0] == "toolConfig":
            yield "jobs of the type Converse have no tools; leave out toolConfig"
        yield f"bodies of {name} have no {named(unknown[0])}" + (
            "; they have: " + ", ".join(sorted(MEMBERS[name])) if name in MEMBERS else ""
        )

    def _reasoning(self, body: Json) -> Iterator[str]:
        """What Nova rejects about its reasoning: on high effort, Nova 2 decides itself on how it samples and how much."""
        card = card_of(self.model_id)
        if self.family.name not in ("nova", "converse") or card is None or card.family != "nova":
            return
        config, extra = (_object(body, name) for name in ("inferenceConfig", "additionalModelRequestFields"))
        for place in (body, config, extra):
            if "reasoningConfig" not in place:
                continue
            if not card.effort:
                yield "only Nova 2 has reasoningConfig; leave it out"
            reasoning = _object(place, "reasoningConfig")
            effort = reasoning.get("maxReasoningEffort")
            if reasoning.get("type") != "enabled":
                continue
            choice = _object(_object(body, "toolConfig"), "toolChoice")
            if choice.keys() & {"tool", "any"}:
                yield (
                    "it is not documented that Nova reasons when a tool is forced, and other models reject it; leave out "
                    "reasoningConfig, or the structured response"
                )
            if effort not in card.effort:
                yield f"reasoningConfig.maxReasoningEffort is not {_or(card.effort)}; set it"
            given = {**_object(extra, "inferenceConfig"), **config}
            if effort == "high" and (named := sorted(_NOT_WITH_HIGH_EFFORT & given.keys())):
                yield (
                    f"{card.id} takes no {', '.join(named)} beside maxReasoningEffort=high; leave out {named[0]}, or lower "
                    "the effort"
                )

    def _claude(self, body: Json, most: object, choice: object) -> Iterator[str]:
        thinking = body.get("thinking")
        kind = thinking.get("type") if isinstance(thinking, Mapping) else None
        if "thinking" in body and kind not in _THINKING:
            yield f"thinking.type is none of {', '.join(_THINKING)}; correct it"
        thinks = kind in ("enabled", "adaptive")
        forced = isinstance(choice, Mapping) and choice.get("type") in ("tool", "any")
        card = card_of(self.model_id)
        yield from self._max_tokens(most, "max_tokens")
        yield from self._sampling(body.get("temperature"), body.get("top_p"), body.get("top_k"))
        effort = _object(body, "output_config").get("effort")
        if effort is not None and card is not None and card.family == "claude" and effort not in card.effort:
            yield f"{card.id} does not take this output_config.effort; " + (
                f"set {_or(card.effort)}" if card.effort else "leave it out"
            )
        kinds = card.thinking if card else None
        if thinks and kinds is not None and kind not in kinds:
            yield f"{_model(card)} does not take thinking.type={kind}" + (
                f"; set thinking.type={kinds[0]}" if kinds else "; leave out thinking"
            )
        if kind == "disabled" and card is not None and card.thinks == "always":
            yield f"{card.id} always thinks; leave out thinking"
        if thinks and forced:
            yield (
                "Claude does not think when a tool is forced; leave out thinking, or request the structured response "
                "with answer_by='schema' if the model takes it"
            )
        if forced and card is not None and card.family == "claude" and "tool" not in card.answers:
            yield f"{card.id} does not take forced tools; leave out tool_choice, or use structured output"
        if kind == "enabled" and isinstance(thinking, Mapping):
            yield from _budget(thinking.get("budget_tokens"), most)
        if thinks and body.get("temperature") not in (None, 1):
            yield "temperature can only be 1 while Claude thinks; leave it out"
        top_p = body.get("top_p")
        if thinks and isinstance(top_p, int | float) and not _LEAST_TOP_P <= top_p <= 1:
            yield f"top_p is at least {_LEAST_TOP_P} while Claude thinks; leave it out"
        if kind == "enabled" and body.get("top_k") is not None:
            yield "top_k cannot be set while Claude thinks; leave it out"

    def _inference(self, body: Json) -> Iterator[str]:
        name = self.family.name
        config = body.get("inferenceConfig", {})
        if not isinstance(config, Mapping):
            return  # said before
        if unknown := sorted(config.keys() - INFERENCE[name]):
            if name == "converse" and unknown[0] in ("topK", "top_k"):
                yield _CONVERSE_TOP_K
            yield f"inferenceConfig has no {named(unknown[0])}; it has: {', '.join(sorted(INFERENCE[name]))}"
        if name == "converse" and "toolConfig" in body:
            yield (
                "jobs of the type Converse have no tools; leave out toolConfig, or leave out invocation='Converse' for "
                "the model's own body"
            )
        extra = body.get("additionalModelRequestFields") or {}
        if isinstance(extra, Mapping) and bare_model(self.model_id).startswith("anthropic."):
            whole = {**extra, "temperature": config.get("temperature"), "top_p": config.get("topP")}
            yield from self._claude(whole, config.get("maxTokens"), None)
            return
        yield from self._max_tokens(config.get("maxTokens"), "maxTokens")
        yield from self._sampling(config.get("temperature"), config.get("topP"), None)

    def _max_tokens(self, most: object, name: str) -> Iterator[str]:
        card = card_of(self.model_id)
        if card is not None and card.max_output is not None and type(most) is int and most > card.max_output:
            yield f"{card.id} writes at most {card.max_output:,} tokens, less than {name}={most:,}; lower it"

    def _sampling(self, temperature: object, top_p: object, top_k: object) -> Iterator[str]:
        card = card_of(self.model_id)
        if card is None:
            return
        given = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        named = [name for name, value in given.items() if value is not None]
        if card.sampling == "none" and named:
            yield f"{card.id} does not take {', '.join(named)}; leave it out"
        if card.sampling == "one" and temperature is not None and top_p is not None:
            yield f"{card.id} takes only one of temperature and top_p; leave one out"

    def _prefill(self, body: Json) -> str | None:
        messages = body.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        if not isinstance(last, Mapping) or last.get("role") != "assistant":
            return None
        if bare_model(self.model_id).startswith("anthropic.") and _ends_in_space(last.get("content")):
            return "the last message is the assistant's and ends in white space, which Claude does not continue; cut it off"
        card = card_of(self.model_id)
        if card is not None and not card.prefill:
            return "the model does not continue a message of the assistant; end with one of the user"
        thinking = body.get("thinking")
        if isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive"):
            return "Claude does not continue a message of the assistant while it thinks; end with one of the user"
        return None


_CONVERSE_TOP_K: Final = (
    "the Converse API has no top_k; give it in additionalModelRequestFields under the model's own name"
)


def with_room(parameters: Json) -> dict[str, Any]:
    """Parameters of Claude with room for the text after a budget of thinking, if they set no `max_tokens`."""
    thinking = parameters.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if type(budget) is not int or "max_tokens" in parameters:
        return dict(parameters)
    return {"max_tokens": budget + _LEAST_BUDGET, **parameters}


def _budget(budget: object, most: object) -> Iterator[str]:
    if type(budget) is not int or budget < _LEAST_BUDGET:
        yield f"thinking.budget_tokens is not a whole number from {_LEAST_BUDGET:,} on"
    elif type(most) is int and budget >= most:
        yield "max_tokens must be greater than thinking.budget_tokens; raise max_tokens, or leave it out"


def _has_cache_points(body: Json) -> bool:
    waiting: list[Any] = [body.get(name) for name in ("messages", "system", "tools", "toolConfig")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if value.get("cache_control") or value.get("cachePoint"):
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _object(place: Json, name: str) -> Json:
    """The object of a member; empty if it is none."""
    value = place.get(name)
    return value if isinstance(value, Mapping) else {}


def _ends_in_space(content: object) -> bool:
    last = content[-1] if isinstance(content, list) and content else content
    text = last.get("text") if isinstance(last, Mapping) else last
    return isinstance(text, str) and text != text.rstrip()


def _or(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _model(card: ModelCard | None) -> str:
    return card.id if card else "the model"
