"""What a model's card rejects, in the model's words.

What belongs here: the rules that bodies of several shapes have in common, as checks of a value against a card.
"""

from collections.abc import Iterator
from typing import Any

from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import BodyError, digest

_NO_CACHING = "You invoked an unsupported model or your request did not allow prompt caching."
_LEAST_BUDGET = 1024
#: A model thinks for at least this many tokens and for twenty times as many at most, as the prompt's hash decides.
_LEAST_THINKING = 75


class ModelSaysError(BodyError):
    """A model's own rejection, in its provider's words; Converse says so before it."""


def check_sampling(card: ModelCard, temperature: object, top_p: object, top_k: object = None) -> None:
    """Reject parameters of sampling that the model does not take; those that change nothing are taken.

    Raises:
        BodyError: in Anthropic's words.
    """
    if card.sampling == "none":
        given = {"temperature": temperature not in (None, 1), "top_p": top_p not in (None, 1), "top_k": top_k}
        if named := next((name for name, is_set in given.items() if is_set), None):
            raise ModelSaysError(f"`{named}` is deprecated for this model.")
    elif card.sampling == "one" and temperature is not None and top_p is not None:
        raise ModelSaysError(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        )


def check_prefill(card: ModelCard, messages: list[Any]) -> None:
    """Reject a last message of the assistant where the model does not go on from it.

    Raises:
        BodyError: in Anthropic's words.
    """
    if not card.prefill and messages[-1].get("role") == "assistant":
        raise ModelSaysError(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def check_turns(messages: list[Any]) -> None:
    """Reject a conversation that the user does not begin, and images or documents that the assistant says.

    Raises:
        BodyError: in Anthropic's words.
    """
    if messages[0].get("role") != "user":
        raise ModelSaysError('messages: first message must use the "user" role')
    for number, message in enumerate(messages):
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if message["role"] == "assistant" and block.get("type") in ("image", "document"):
                raise ModelSaysError(
                    f"messages.{number}: {block['type']} blocks are only allowed in user messages"
                )


def check_prefill_ends(content: Any) -> None:
    """Reject a last message of the assistant that ends in white space, which Claude would go on from.

    Raises:
        BodyError: in Anthropic's words.
    """
    last = content[-1] if isinstance(content, list) and content else content
    text = last.get("text") if isinstance(last, dict) else last
    if isinstance(text, str) and text.rstrip() != text:
        raise ModelSaysError("messages: final assistant content cannot end with trailing whitespace")


def check_effort(card: ModelCard, config: Any) -> None:
    """Reject an effort that the model does not have.

    Raises:
        BodyError: in Anthropic's words.
    """
    effort = (config or {}).get("effort")
    if effort is None:
        return
    if not card.effort:
        raise ModelSaysError("This model does not support the effort parameter.")
    if effort not in card.effort:
        known = ", ".join(f"'{one}'" for one in card.effort)
        raise ModelSaysError(f"output_config.effort: Input should be {known}")


def check_forced_tool(card: ModelCard, thinking: Any) -> None:
    """Reject that a tool is forced, where the model cannot or thinks.

    Raises:
        BodyError: in Anthropic's words.
    """
    if not card.forced_tool:
        raise ModelSaysError('tool_choice: type "tool" and "any" are not supported for this model.')
    if (thinking or {}).get("type") in ("enabled", "adaptive"):
        raise ModelSaysError("Thinking may not be enabled when tool_choice forces tool use.")


def check_length(card: ModelCard, tokens: int) -> None:
    """Reject a prompt that is longer than the model's context.

    Raises:
        BodyError: in Anthropic's words.
    """
    if card.max_input is not None and tokens > card.max_input:
        raise ModelSaysError(f"prompt is too long: {tokens} tokens > {card.max_input} maximum")


def check_caching(card: ModelCard, *parts: Any, batch: bool) -> None:
    """Reject a request to cache the prompt in a job, or of a model that has no prompt caching.

    Raises:
        BodyError: with code 403.
    """
    if (batch or not card.caches) and any(True for part in parts for _ in _cache_points(part)):
        raise BodyError(_NO_CACHING, 403)


def check_input_kind(card: ModelCard, kind: str) -> None:
    """Reject an image, a video or a document that the model cannot be given.

    Raises:
        BodyError: names the model.
    """
    if kind not in card.input:
        raise ModelSaysError(f"'{card.short}' does not support {kind} input.")


def thinking_tokens(card: ModelCard, thinking: Any, limit: int | None, prompt: str, *, forced: bool) -> int:
    """How many tokens the model spends on thinking, before the text and out of the same limit.

    Args:
        card: the model's.
        thinking: what the request sets.
        limit: the most output tokens.
        prompt: the prompt; its hash decides how much.
        forced: whether a tool is forced; a model that thinks by default then does not.

    Raises:
        BodyError: the model cannot think as it should.
    """
    kind = (thinking or {}).get("type") or ("disabled" if card.thinks == "when asked" else "default")
    if kind not in ("default", "disabled", *card.thinking):
        raise ModelSaysError(_thinking_rejected(card, kind))
    if kind == "disabled" and card.thinks == "always":
        raise ModelSaysError(
            '"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    if kind == "disabled" or (kind == "default" and forced):
        return 0
    spent = _LEAST_THINKING * (1 + int(digest(prompt)[:8], 16) % 20)
    if kind == "enabled":
        budget = thinking.get("budget_tokens") or 0
        if budget < _LEAST_BUDGET:
            raise ModelSaysError(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if limit is not None and budget >= limit:
            raise ModelSaysError("`max_tokens` must be greater than `thinking.budget_tokens`.")
        spent = min(spent, budget)
    return spent if limit is None else min(spent, limit)


def _thinking_rejected(card: ModelCard, kind: str) -> str:
    if kind not in ("enabled", "adaptive"):
        return (
            f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            "'adaptive', 'disabled', 'enabled'"
        )
    if kind == "adaptive" and card.thinking:
        return "adaptive thinking is not supported on this model"
    if kind == "enabled" and card.thinking:
        return (
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    return f"'{card.short}' does not support thinking."


def _cache_points(part: Any) -> Iterator[None]:
    if isinstance(part, list):
        for one in part:
            yield from _cache_points(one)
    elif isinstance(part, dict):
        if part.get("cache_control") or part.get("cachePoint"):
            yield None
        for one in part.values():
            if isinstance(one, list | dict):
                yield from _cache_points(one)
