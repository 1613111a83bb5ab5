"""The packages of extras that some inputs need."""

from bedrock_pipeline.errors import ConfigurationError


class MissingExtraError(ConfigurationError):
    """An input or a destination needs packages that are not installed."""


def missing_extra(extra: str, needed_for: str, *packages: str) -> MissingExtraError:
    """The error for packages that are not installed.

    Args:
        extra: of this package, that has them.
        needed_for: what needs them.
        packages: others, which no extra has.
    """
    needed = " ".join([f"'bedrock-pipeline[{extra}]'", *packages])
    return MissingExtraError(
        f"{needed_for} needs packages that are not installed.",
        f"Install them where runs execute: pip install {needed}.",
    )
