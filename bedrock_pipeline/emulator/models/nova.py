"""Amazon Nova's understanding models: Converse's shapes under a version of the schema.

Source: "Complete request schema" and "Tool use", Amazon Nova user guide.
"""

from bedrock_pipeline.emulator.models import converse
from bedrock_pipeline.emulator.models.reply import Body, Reply, malformed

PREFIXES = (
    *("amazon.nova-micro", "amazon.nova-lite", "amazon.nova-pro", "amazon.nova-premier"),
    *("amazon.nova-2-lite", "amazon.nova-2-pro"),
)
_MEMBERS = ("schemaVersion", "messages", "system", "inferenceConfig", "toolConfig")
#: What stands at the top of a tool's schema.
_SCHEMA = {"type", "properties", "required"}


def answer(body: Body) -> Reply:
    """As Converse answers."""
    if body.get("schemaVersion", "messages-v1") != "messages-v1":
        raise malformed("#/schemaVersion: not a valid enum value")
    for tool in (body.get("toolConfig") or {}).get("tools") or []:
        schema = ((tool.get("toolSpec") or {}).get("inputSchema") or {}).get("json") or {}
        if extra := sorted(schema.keys() - _SCHEMA):
            raise malformed(f"#/toolConfig/tools: extraneous key [{extra[0]}] is not permitted")
    return converse.answer(body, _MEMBERS)
