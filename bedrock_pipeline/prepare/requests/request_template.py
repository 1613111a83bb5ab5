"""Prompt templates, and a row as a line of a job's input.

This is the scalar rule; the kernel must give the same bytes.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import orjson

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.models import AnswerFormat, Family, ModelRequest
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.snapshot import images
from bedrock_pipeline.records.cells import is_null, text_of
from bedrock_pipeline.records.record_ids import wire_id
from bedrock_pipeline.records.wire_line import wire_line

_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_PLACE = "\ue000place of the prompt\ue000"
_IMAGES = "\ue000place of the images\ue000"


class TemplateError(InvalidInputError):
    """A template cannot be filled from the columns of the input."""


class Template:
    """A parsed prompt template: literal texts around `{{ column }}`; there is nothing else of a template language.

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


class NotRenderableError(ValueError):
    """A row cannot become a record; the message says why, without its values."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What is around the prompt's columns in every body of a dataset.

    Attributes:
        before: JSON before the prompt's text.
        literals: the prompt's own text, before, between and after its columns; not escaped.
        names: the columns, in their order.
        after: JSON after the prompt's text.
    """

    before: str
    literals: tuple[str, ...]
    names: tuple[str, ...]
    after: str


class RequestTemplate:
    """The request of every row, fixed for a dataset: its constant part is rendered once.

    `prompt` is a template; in its place `model_input` names a column that holds the whole body as JSON text or as a struct.
    Without a `null_text` for nulls in the prompt, a row with a null is rejected. The images of
    `image_columns` are given with each row. Without `answer` the form of the response is left to the model.

    Raises:
        BodyError: the family cannot render such a request.
        TemplateError: the prompt has an empty placeholder.
    """

    def __init__(
        self,
        family: Family,
        *,
        prompt: str | None,
        model_input: str | None,
        system: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        null_text: str | None = None,
        image_columns: Sequence[str] = (),
        answer: AnswerFormat | None = None,
    ) -> None:
        self.image_columns = tuple(image_columns)
        self.null_text = null_text
        self._family = family
        self._template = Template(prompt) if prompt is not None else None
        self._model_input = model_input
        self._before = self._after = b""
        self._before_images = self._after_images = self._end_with_images = b""
        self._before_only_images = self._after_only_images = b""
        if self._template:
            model_request = ModelRequest(_PLACE, system, parameters or {}, answer=answer)
            self._before, self._after = _rendered(family, model_request).split(orjson.dumps(_PLACE))
            if image_columns and family.embeds:
                only = replace(model_request, prompt="", images=(_IMAGES,))
                self._before_only_images, self._after_only_images = _rendered(family, only).split(
                    orjson.dumps(_IMAGES)
                )
            if image_columns and (prompt or not family.embeds):
                body = _rendered(family, replace(model_request, images=(_IMAGES,)))
                self._before_images, rest = body.split(orjson.dumps(_IMAGES))
                self._after_images, self._end_with_images = rest.split(orjson.dumps(_PLACE))

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """The request of a pipeline.

        Raises:
            BodyError, TemplateError: see the constructor.
        """
        return cls(
            pipeline.model_family,
            prompt=pipeline.prompt,
            model_input=pipeline.model_input,
            system=pipeline.system,
            parameters=pipeline.request_parameters,
            null_text=pipeline.null_text,
            image_columns=pipeline.images,
            answer=pipeline.answer_format,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs."""
        return self._template.columns if self._template else (self._model_input or "",)

    @property
    def frame(self) -> Frame | None:
        """What is constant in the bodies; None where they differ in more than the text of a prompt."""
        if self._template is None or self.image_columns:
            return None
        return Frame(
            self._before.decode(), self._template.literals, self._template.names, self._after.decode()
        )

    def why_not(self, row: Mapping[str, Any]) -> str:
        """Why a row has no fitting value for a column; empty where it has one for each."""
        return next(filter(None, (self._why_not(name, row.get(name)) for name in self.columns)), "")

    def _why_not(self, name: str, value: object) -> str:
        if _has_bytes(value):
            return f"column {name!r} is binary"
        if is_null(value) and (self.null_text is None or not self._template):
            return f"column {name!r} is null"
        return ""

    def constant(self) -> bytes:
        """What is the same for every record: templates with the same constant give the same lines."""
        parts = (
            (self._template.literals, self._template.names) if self._template else ((), (self._model_input,))
        )
        with_images = self._before_images, self._after_images, self._end_with_images
        bodies = self._before, self._after, *with_images, self._before_only_images, self._after_only_images
        return orjson.dumps(
            [
                self._family.name,
                *(body.decode() for body in bodies),
                *parts,
                self.null_text,
                self.image_columns,
            ]
        )

    def line(self, record_id: str, row: Mapping[str, Any], pictures: Sequence[bytes] = ()) -> bytes:
        """One line of input, with its newline, from the columns that it needs and the row's images.

        Raises:
            NotRenderableError: a needed cell is null, NaN or binary, or a body is not a JSON object.
        """
        body = self._prompt_body(row, pictures) if self._template else self._given_body(row)
        return wire_line(wire_id(record_id), body)

    def _prompt_body(self, row: Mapping[str, Any], pictures: Sequence[bytes]) -> bytes:
        assert self._template is not None  # `line` checked it
        prompt = self._template.fill([self.text(name, row.get(name)) for name in self._template.names])
        if not pictures:
            return self._before + orjson.dumps(prompt) + self._after
        most = self._family.most_images
        if most is not None and len(pictures) > most:
            raise NotRenderableError(f"it has {len(pictures)} images, and the model takes {most}")
        blocks = b",".join(self._image_block(data) for data in pictures)
        if not prompt and self._before_only_images:
            return self._before_only_images + blocks + self._after_only_images
        return (
            self._before_images + blocks + self._after_images + orjson.dumps(prompt) + self._end_with_images
        )

    def _image_block(self, data: bytes) -> bytes:
        block = orjson.dumps(self._family.image(images.kind_of(data), _IMAGES))
        return block.replace(_IMAGES.encode(), base64.b64encode(data))

    def text(self, name: str, value: Any) -> str:
        """The text in the prompt for a cell.

        Raises:
            NotRenderableError: it is binary, or null without a text for nulls.
        """
        if isinstance(value, str):
            return value
        if reason := self._why_not(name, value):
            raise NotRenderableError(reason)
        return (self.null_text or "") if is_null(value) else text_of(value)

    def _given_body(self, row: Mapping[str, Any]) -> bytes:
        value = row.get(self._model_input or "")
        try:
            body = orjson.loads(value) if isinstance(value, str) else value
            rendered = orjson.dumps(body)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            raise NotRenderableError(f"column {self._model_input!r} is not JSON") from None
        if not isinstance(body, dict):
            raise NotRenderableError(f"column {self._model_input!r} is not a JSON object")
        return rendered


def _rendered(family: Family, model_request: ModelRequest) -> bytes:
    body = family.body(model_request)
    family.check(model_request)
    return orjson.dumps(body)


def _has_bytes(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    return any(map(_has_bytes, value)) if isinstance(value, list) else isinstance(value, bytes)
