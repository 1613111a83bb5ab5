"""Amazon Nova's understanding models: Converse's shapes under a version of the schema.

Source: "Complete request schema", Amazon Nova user guide.
"""

from bedrock_pipeline.emulator.models import converse
from bedrock_pipeline.emulator.models.reply import Body, Reply, malformed

PREFIXES = (
    *("amazon.nova-micro", "amazon.nova-lite", "amazon.nova-pro", "amazon.nova-premier"),
    *("amazon.nova-2-lite", "amazon.nova-2-pro"),
)
_MEMBERS = ("schemaVersion", "messages", "system", "inferenceConfig", "toolConfig")


def answer(body: Body) -> Reply:
    """As Converse answers."""
    if body.get("schemaVersion", "messages-v1") != "messages-v1":
        raise malformed("#/schemaVersion: not a valid enum value")
    return converse.answer(body, _MEMBERS)
