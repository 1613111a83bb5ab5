"""Amazon Nova's understanding models: Converse's shapes under a version of the schema.

Source: "Complete request schema" and "Tool use", Amazon Nova user guide; "Extended thinking", Amazon Nova 2 user guide.
"""

from typing import Any, Final

from bedrock_pipeline.emulator.constraints import broken_members
from bedrock_pipeline.emulator.models import converse
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    BodyError,
    Reply,
    check_amazon_types,
    malformed,
    reject_extraneous,
)

PREFIXES: Final = (
    *("amazon.nova-micro", "amazon.nova-lite", "amazon.nova-pro", "amazon.nova-premier"),
    *("amazon.nova-2-lite", "amazon.nova-2-pro"),
)
ANY: Final = ModelCard("amazon.nova", "nova", thinking=("adaptive",), caches=True)
_MEMBERS = ("schemaVersion", "messages", "system", "inferenceConfig", "toolConfig")
_CONFIG = ("maxTokens", "max_new_tokens", "temperature", "topP", "top_p", "topK", "top_k", "stopSequences")
_REASONING = {"type": str, "maxReasoningEffort": str}
_SHAPE = {
    "schemaVersion": str,
    "inferenceConfig": {"maxTokens": int, "max_new_tokens": int, "reasoningConfig": _REASONING},
    "reasoningConfig": _REASONING,
}
#: What stands at the top of a tool's schema.
_SCHEMA = {"type", "properties", "required"}


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:
    """As Converse answers, with a usage of its own."""
    reasons = bool(card.thinking)
    reject_extraneous(body, (*_MEMBERS, "reasoningConfig") if reasons else _MEMBERS)
    if body.get("schemaVersion", "messages-v1") != "messages-v1":
        raise malformed("#/schemaVersion: not a valid enum value")
    shared = {name: body.get(name) for name in ("messages", "system", "toolConfig")}
    if problem := broken_members(shared):
        raise BodyError(f"1 validation error detected: {problem}")
    check_amazon_types(_SHAPE, body)
    config = body.get("inferenceConfig") or {}
    reject_extraneous(config, (*_CONFIG, "reasoningConfig") if reasons else _CONFIG, "#/inferenceConfig")
    for tool in (body.get("toolConfig") or {}).get("tools") or []:
        schema = ((tool.get("toolSpec") or {}).get("inputSchema") or {}).get("json") or {}
        reject_extraneous(schema, _SCHEMA, "#/toolConfig/tools")
    limit = config.get("maxTokens", config.get("max_new_tokens"))
    reasoning = body.get("reasoningConfig") or config.get("reasoningConfig")
    thinking = _thinking(reasoning)
    converse.check_high_effort(reasoning, config)
    given = {**body, "inferenceConfig": {**config, "maxTokens": limit}}
    reply = converse.said(given, card, batch=batch, thinking=thinking)
    usage = {**reply.body["usage"], "cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0}
    return Reply({**reply.body, "usage": usage}, reply.input_tokens, reply.output_tokens)


def _thinking(config: Any) -> Body | None:
    """A request for reasoning, in the words of the cards: its effort is given, and no budget."""
    if not config or config.get("type") == "disabled":
        return None
    if config.get("type") != "enabled":
        raise malformed("#/reasoningConfig/type: not a valid enum value")
    if config.get("maxReasoningEffort") not in ("low", "medium", "high"):
        raise malformed("#/reasoningConfig/maxReasoningEffort: not a valid enum value")
    return {"type": "adaptive"}
