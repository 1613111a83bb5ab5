"""Prompt templates: text with `{{ column }}`, and nothing else of a template language."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bedrock_pipeline.errors import ArgumentError
from bedrock_pipeline.records.cells import NoTextError

#: `{{ "any text" }}`, or `{{ name }}` with parts in backticks where a name has other than ordinary characters. Nothing is
#: given back once it is matched (`*+`), so that the time is linear in the length, whatever the text.
_PLACEHOLDER: Final = re.compile(
    r"""\{\{\s*+(?:"(?P<text>[^"]*+)"\s*+|(?P<name>(?:`[^`]*+`|[^`{}"])*+))\}\}""", re.DOTALL
)
_PART: Final = re.compile(r"\s*+(?:`(?P<quoted>[^`]++)`\s*+|(?P<bare>[^.`]*+))(?:\.|$)", re.DOTALL)
#: What other template languages write, and what to write here.
_LITERAL: Final = 'to send it as text, write {{ "%s" }}'
_FUNCTION: Final = "prepare the value in a column, or write the prompt with a Python function (render)"
_FOREIGN: Final = (
    ("{%", "%}", "{% … %}", f"{_FUNCTION}; {_LITERAL % '{%'}"),
    ("{#", "#}", "{# … #}", f"leave comments out; {_LITERAL % '{#'}"),
    ("{{{", "", "{{{", 'for a brace before a value write {{ "{" }}{{ column }}'),
    *(("{{" + sign, "", "{{- … -}}", "write {{ column }}, without the sign") for sign in "-+~"),
)
_IN_NAMES: Final = (
    (re.compile(r"\s[-+~]$|[-~]$"), "the sign of {{- … -}}", "leave it out"),
    (re.compile(r"^\s*'[^']*'\s*$", re.DOTALL), "a text in single quotes", 'write {{ "text" }}'),
    (re.compile(r"\s(?:or|if)\s"), "a condition (or, if)", _FUNCTION),
    (re.compile(r"\s(?:[+*~%]|[=!<>]=|[<>])\s"), "an operator", _FUNCTION),
    (re.compile(r"\|"), "a filter (|)", _FUNCTION),
    (re.compile(r"\w\(.*\)$", re.DOTALL), "a function call", _FUNCTION),
    (re.compile(r"[\[\]]"), "an index ([ ])", _FUNCTION),
    (re.compile(r"^[#/^&!>]"), "a section, comment or partial", _FUNCTION),
)


class TemplateError(ArgumentError, ValueError):
    """A template cannot be read, or not be filled from the columns of the input."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a placeholder names: a column, or a field within a column of structs or JSON objects."""

    path: tuple[str, ...]

    @property
    def column(self) -> str:
        """The column."""
        return self.path[0]

    @property
    def name(self) -> str:
        """As it is named in messages."""
        return ".".join(self.path)

    def value_in(self, cell: Any) -> Any:
        """Its value in a cell of its column: in a struct, or in the object that JSON text is, which may lack it.

        Raises:
            NoTextError: the cell has no fields, or not this one.
        """
        value, lenient = cell, False
        for name in self.path[1:]:
            if value is None:
                return None
            if isinstance(value, str):
                value, lenient = _object(value), True
            if not isinstance(value, Mapping) or (name not in value and not lenient):
                raise NoTextError(f"has no field {name!r}")
            value = value.get(name)
        return value


class Template:
    """A parsed template: literal texts around fields.

    Args:
        text: the template.
        setting: where it stands, for messages.

    Attributes:
        literals: the template's own text, before, between and after the fields.
        fields: in the order of their use.

    Raises:
        TemplateError: it has a placeholder that names no column, or the syntax of another template language.
    """

    def __init__(self, text: str, setting: str = "prompt") -> None:
        self.setting = setting
        literals, fields, end = [""], [], 0
        outside = _PLACEHOLDER.sub(lambda found: "" if found["text"] is not None else found[0], text)
        for opening, closing, name, instead in _FOREIGN:
            if closing in outside.partition(opening)[2] and opening in outside:
                raise self._error(f"has {name}, which templates here do not have", instead)
        for found in _PLACEHOLDER.finditer(text):
            literals[-1] += self._literal(text[end : found.start()])
            end = found.end()
            if found["text"] is not None:
                literals[-1] += found["text"]
            else:
                fields.append(self._field(found["name"]))
                literals.append("")
        literals[-1] += self._literal(text[end:])
        self.literals = tuple(literals)
        self.fields = tuple(fields)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs, each once, in the order of first use."""
        return tuple(dict.fromkeys(field.column for field in self.fields))

    @property
    def is_text(self) -> bool:
        """Whether there is text around the fields, so that it is never blank."""
        return not is_blank("".join(self.literals))

    def check(self, available: Sequence[str]) -> None:
        """Check that all columns exist.

        Raises:
            TemplateError: some do not; the message names them and those of the input.
        """
        missing = [field for field in self.fields if field.column not in available]
        if not missing:
            return
        dotted = next((field.name for field in missing if field.name in available), None)
        names = dict.fromkeys(repr(field.column) for field in missing)
        raise self._error(
            f"names {', '.join(names)}, which the input does not have",
            f"write {{{{ `{dotted}` }}}} for the column of that name"
            if dotted
            else f"its columns are: {', '.join(available)}",
        )

    def fill(self, values: Sequence[str]) -> str:
        """The text with one value for each field, in their order."""
        pieces = [self.literals[0]]
        for value, literal in zip(values, self.literals[1:], strict=True):
            pieces += (value, literal)
        return "".join(pieces)

    def _literal(self, text: str) -> str:
        if "{{" in text:
            raise self._error("has a {{ that names no column", f"write {{{{ column }}}}; {_LITERAL % '{{'}")
        return text

    def _field(self, name: str) -> Field:
        name = name.strip()
        if not name:
            raise self._error("has an empty {{ }}", "name a column in it")
        bare = re.sub(r"`[^`]*`", "", name)
        for pattern, what, instead in _IN_NAMES:
            if pattern.search(bare):
                raise self._error(
                    f"has {what} in a {{{{ }}}}", f"{instead}; a column of that name is written in backticks"
                )
        path, end = [], 0
        while end < len(name) or name[end - 1] == ".":
            part = _PART.match(name, end)
            if part is None or not (found := part["quoted"] or part["bare"].strip()):
                raise self._error(
                    "has a {{ }} that names no column", "write {{ column }} or {{ column.field }}"
                )
            path.append(found)
            end = part.end()
        return Field(tuple(path))

    def _error(self, what: str, instead: str) -> TemplateError:
        subject = "The prompt" if self.setting == "prompt" else f"The template in {self.setting}"
        return TemplateError(f"{subject} {what}.", f"{instead[0].upper()}{instead[1:]}.")


#: What is not blank has one of these; the same for Python and for Arrow.
NOT_BLANK: Final = re.compile(r"[^ \t\n\r\f\v]")


def is_blank(text: str) -> bool:
    """Whether a text has nothing but ASCII white space; models reject such a text."""
    return NOT_BLANK.search(text) is None


def _object(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
