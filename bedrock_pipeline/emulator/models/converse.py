"""The Converse API, for any model that makes text.

Source: "Converse", Amazon Bedrock API reference; of the nulls in batch output, lines that users of the service show.
"""

from typing import Any, Final

import orjson

from bedrock_pipeline.emulator.constraints import broken_members, unknown_member
from bedrock_pipeline.emulator.models import blocks, documents, rules
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    BodyError,
    Reply,
    cut_off,
    digest,
    json_size,
    malformed,
    most_tokens,
    sentence,
    tokens,
)
from bedrock_pipeline.emulator.models.shapes import wrong_type
from bedrock_pipeline.emulator.models.structured import invalid, json_text, rejection, value_for

ANY: Final = ModelCard("converse", "converse", thinking=("enabled", "adaptive"), structured=True, caches=True)
_MEMBERS_OF_A_BLOCK = (
    *("audio", "cachePoint", "citationsContent", "document", "guardContent", "image", "reasoningContent"),
    *("searchResult", "text", "toolResult", "toolUse", "video"),
)
_MEMBERS_OF_THE_USAGE = (
    *(
        "cacheReadInputTokens",
        "cacheWriteInputTokens",
        "cacheReadInputTokenCount",
        "cacheWriteInputTokenCount",
    ),
    "cacheDetails",
)
_ADDITIONAL = {"thinking": {"type": str, "budget_tokens": int}, "output_config": {"effort": str}}
_NOT_WITH_HIGH_EFFORT = ("temperature", "topP", "top_p", "topK", "top_k", "maxTokens", "max_new_tokens")
_THINKING = "Let me look at what is asked."


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:
    """A message with text or the use of a tool where one is forced, thinking before it, and its usage."""
    if found := unknown_member("Converse", body, service="bedrock-runtime", besides=("modelId",)):
        raise malformed("#{}: extraneous key [{}] is not permitted".format(*found))
    if problem := broken_members(body):
        raise BodyError(f"1 validation error detected: {problem}")
    config = body.get("inferenceConfig") or {}
    try:
        rules.check_sampling(card, config.get("temperature"), config.get("topP"))
        extra = body.get("additionalModelRequestFields") or {}
        if found := wrong_type(_ADDITIONAL, extra):
            raise rules.ModelSaysError(f"{found[0]}: Input should be a valid {found[1]}")
        if card.family == "claude":
            rules.check_effort(card, extra.get("output_config"))
            if (body.get("messages") or [{}])[-1].get("role") == "assistant":
                rules.check_prefill_ends(body["messages"][-1].get("content"))
        reasoning = extra.get("reasoningConfig")
        if reasoning is not None and card.family == "nova" and not card.thinking:
            raise malformed("#: extraneous key [reasoningConfig] is not permitted")
        check_high_effort(reasoning, {**(extra.get("inferenceConfig") or {}), **config})
        return said(body, card, batch=batch, thinking=extra.get("thinking"))
    except rules.ModelSaysError as error:
        raise BodyError(f"The model returned the following errors: {error}", error.code) from error


def said(body: Body, card: ModelCard, *, batch: bool, thinking: Any) -> Reply:
    """What a body of Converse's shape gets; its members are known to be."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise malformed("#: required key [messages] not found")
    config = body.get("inferenceConfig") or {}
    limit = most_tokens(config.get("maxTokens"), "inferenceConfig/maxTokens")
    if card.max_output is not None and limit is not None and limit > card.max_output:
        raise BodyError(
            f"The maximum tokens you requested exceeds the model limit of {card.max_output}. "
            "Try again with a maximum tokens value that is lower than "
            f"{card.max_output}."
        )
    rules.check_caching(card, messages, body.get("system"), body.get("toolConfig"), batch=batch)
    tool, schema = _forced(body.get("toolConfig"), card, thinking), _format(body.get("outputConfig"), card)
    blocks.check_turns(messages)
    seen = [blocks.message(one, f"messages.{number}", card) for number, one in enumerate(messages)]
    try:
        documents.check_together((block for one in messages for block in one["content"]), messages)
    except ValueError as error:
        raise BodyError(str(error)) from error
    rules.check_prefill(card, messages)
    prompt = "\n".join(text for text, _ in seen)
    system = "\n".join(
        blocks.block(block, f"system.{number}", card)[0]
        for number, block in enumerate(body.get("system") or [])
    )
    thought = rules.thinking_tokens(card, thinking, limit, prompt, forced=tool is not None)
    spent = tokens(prompt) + (tokens(system) if system else 0) + sum(size for _, size in seen)
    spent += json_size(body.get("toolConfig"))
    rules.check_length(card, spent)
    left = None if limit is None else limit - thought
    content, made, stop = ([], 0, "max_tokens") if left == 0 else _made(prompt, tool, schema, left)
    if thought:
        reasoning = {"text": _THINKING, "signature": digest(prompt)[:32]}
        content.insert(0, {"reasoningContent": {"reasoningText": reasoning}})
        made += thought
    return Reply(
        {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": stop,
            "usage": {"inputTokens": spent, "outputTokens": made, "totalTokens": spent + made},
        },
        spent,
        made,
    )


def check_high_effort(reasoning: Any, config: Body) -> None:
    """Reject what Nova 2 decides itself when it reasons with high effort; the service's own words are not known.

    Source: "Extended thinking", Amazon Nova 2 user guide.

    Raises:
        BodyError: it is set.
    """
    given = reasoning if isinstance(reasoning, dict) else {}
    if given.get("type") != "enabled" or given.get("maxReasoningEffort") != "high":
        return
    if named := next((one for one in _NOT_WITH_HIGH_EFFORT if config.get(one) is not None), None):
        raise malformed(f"#/inferenceConfig/{named}: not permitted with maxReasoningEffort high")


def with_nulls(body: Body) -> Body:
    """An answer as it stands in the output of a job: what is not set is there as null."""
    message = body["output"]["message"]
    content = [{**dict.fromkeys(_MEMBERS_OF_A_BLOCK), **block} for block in message["content"]]
    usage = {"serverToolUsage": {"webSearchRequests": None}, **dict.fromkeys(_MEMBERS_OF_THE_USAGE)}
    return {
        **body,
        "output": {"message": {**message, "content": content}},
        "usage": {**usage, **body["usage"]},
    }


def _made(prompt: str, tool: Body | None, schema: Any, limit: int | None) -> tuple[list[Body], int, str]:
    """A block, its tokens and the stop reason; what is longer than the limit is cut off."""
    if tool is None:
        text, cut = sentence(prompt, limit) if schema is None else cut_off(json_text(schema, prompt), limit)
        return [{"text": text}], tokens(text), "max_tokens" if cut else "end_turn"
    value = value_for(tool["inputSchema"]["json"], prompt)
    made = json_size(value)
    cut = limit is not None and made > limit
    if limit is not None and cut:
        value, made = {}, limit
    use = {"toolUseId": f"tooluse_{digest(prompt)[:22]}", "name": tool["name"], "input": value}
    return [{"toolUse": use}], made, "max_tokens" if cut else "tool_use"


def _forced(config: Any, card: ModelCard, thinking: Any) -> Body | None:
    """The specification of the tool that must be used."""
    if config is None:
        return None
    specs = [one["toolSpec"] for one in config.get("tools") or [] if isinstance(one.get("toolSpec"), dict)]
    for spec in specs:
        schema = (spec.get("inputSchema") or {}).get("json")
        if not isinstance(spec.get("name"), str) or not isinstance(schema, dict):
            raise malformed("#/toolConfig/tools: expected a name and an inputSchema")
        if schema.get("type") != "object" or invalid(schema):
            raise malformed("#/toolConfig/tools/toolSpec/inputSchema/json: expected a schema of an object")
    choice = config.get("toolChoice") or {"auto": {}}
    if "tool" in choice:
        specs = [spec for spec in specs if spec["name"] == choice["tool"].get("name")]
    elif "any" not in choice:
        return None
    if not specs:
        raise malformed("#/toolConfig/toolChoice: the tool is not one of the tools")
    rules.check_forced_tool(card, thinking)
    found: Body = specs[0]
    return found


def _format(config: Any, card: ModelCard) -> Any:
    """The schema of structured output, which stands in the request as text."""
    form = (config or {}).get("textFormat")
    if form is None:
        return None
    if not card.structured:
        raise BodyError(
            "This model doesn't support the outputConfig field. Remove outputConfig and try again."
        )
    try:
        schema = orjson.loads(form["structure"]["jsonSchema"]["schema"])
    except (KeyError, TypeError, orjson.JSONDecodeError):
        raise malformed("#/outputConfig/textFormat: expected a JSON schema as text") from None
    if why := invalid(schema) or rejection(schema):
        raise rules.ModelSaysError(f"output_config.format.schema: {why}")
    return schema
