"""Prompt templates: text with `{{ column }}`."""

import re
from collections.abc import Sequence

from bedrock_pipeline.errors import InvalidInputError

_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)


class TemplateError(InvalidInputError):
    """A template cannot be filled from the columns of the input."""


class Template:
    """A parsed template: literal texts around column names.

    Raises:
        TemplateError: a placeholder is empty.
    """

    def __init__(self, text: str) -> None:
        pieces = _PLACEHOLDER.split(text)
        self.literals = tuple(pieces[0::2])
        self.names = tuple(pieces[1::2])
        if "" in self.names:
            raise TemplateError("The prompt has an empty {{ }}.", "Name a column in it.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs, each once, in the order of first use."""
        return tuple(dict.fromkeys(self.names))

    def check(self, available: Sequence[str]) -> None:
        """Check that all columns exist.

        Raises:
            TemplateError: some do not; the message names them and those of the input.
        """
        if missing := [name for name in self.columns if name not in available]:
            raise TemplateError(
                f"The prompt names {', '.join(map(repr, missing))}, which the input does not have.",
                f"Its columns are: {', '.join(available)}.",
            )

    def fill(self, values: Sequence[str]) -> str:
        """The text with one value for each placeholder, in their order."""
        pieces = [self.literals[0]]
        for value, literal in zip(values, self.literals[1:], strict=True):
            pieces += (value, literal)
        return "".join(pieces)
