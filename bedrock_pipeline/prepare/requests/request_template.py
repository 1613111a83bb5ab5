"""A row as a line of a job's input.

This is the scalar rule; the kernel must give the same bytes.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from bedrock_pipeline.models import AnswerFormat, BodyError, Family, ModelRequest, Turn
from bedrock_pipeline.models.body_rules import BodyRules
from bedrock_pipeline.models.family import Role
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.snapshot.attachments import IMAGES, Attachment
from bedrock_pipeline.prepare.snapshot.row_contents import RowContents
from bedrock_pipeline.prompts.template import Field, Template, is_blank
from bedrock_pipeline.records.cells import NoTextError, is_null, text_of
from bedrock_pipeline.records.record_ids import wire_id
from bedrock_pipeline.records.wire_line import wire_line

#: Stands in the place of a field while the constant part of a body is rendered.
_MARK: Final = "\ue000field {}\ue001"
_MARKED: Final = re.compile(re.escape(_MARK).replace(r"\{\}", r"(\d+)").encode())


#: Stands for the prompt of a row that brings its own.
_OWN_PROMPT: Final = Field(())


class NotRenderableError(ValueError):
    """A row cannot become a record; the message says why, without its values."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What is around the fields in every body of a dataset.

    Attributes:
        pieces: JSON before, between and after the fields.
        fields: in their order in the body.
    """

    pieces: tuple[bytes, ...]
    fields: tuple[Field, ...]


class RequestTemplate:
    """The request of every row, fixed for a dataset: its constant part is rendered once.

    `prompt` is a template; in its place `model_input` names a column that holds the whole body as JSON text or as a struct,
    or the rows' `contents` have a prompt or messages of their own. Without a `null_text` for nulls in the prompt, a row with
    a null is rejected. Without `answer` the form of the response is left to the model.

    Args:
        family: of the bodies.
        prompt: template of the user's message.
        model_input: column with whole bodies.
        system: template of the system prompt.
        parameters: of the model.
        null_text: text of nulls in templates.
        contents: images, documents and conversations of rows.
        examples: pairs of templates, of the user's and of the assistant's messages before the prompt.
        answer: the form of a structured response.
        rules: what the model rejects; without them nothing is checked.

    Raises:
        BodyError: the family cannot render such a request.
        TemplateError: a template cannot be read.
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
        contents: RowContents | None = None,
        examples: Sequence[tuple[str, str]] = (),
        answer: AnswerFormat | None = None,
        rules: BodyRules | None = None,
    ) -> None:
        self.contents = contents or RowContents()
        self.null_text = null_text
        self._family = family
        self._model_input = model_input
        self._rules = rules
        self._safe_bytes = rules.safe_bytes if rules else float("inf")
        self._prompt = Template(prompt) if prompt is not None else None
        self._system = Template(system, "system") if system else None
        self._examples = [
            (role, Template(text, "examples"))
            for pair in examples
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        self._parameters = parameters or {}
        self._constant: dict[str, Any] = {}
        self._frame: Frame | None = None
        if model_input is None:
            self._frame = self._framed(parameters or {}, answer)
            if self.contents:
                self._constant = self._without_conversation(parameters or {}, answer)

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
            contents=RowContents(
                pipeline.images,
                pipeline.documents,
                pipeline.messages,
                pipeline.render,
                nulls=pipeline.null_text is not None,
            ),
            examples=pipeline.examples,
            answer=pipeline.answer_format,
            rules=pipeline.body_rules,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs, besides those of its contents."""
        return tuple(dict.fromkeys(field.column for field in self.fields))

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of its templates, or the column with the body, each once."""
        if self._model_input is not None:
            return (Field((self._model_input,)),)
        return tuple(dict.fromkeys(field for template in self.templates for field in template.fields))

    @property
    def templates(self) -> Iterator[Template]:
        """Its templates."""
        yield from filter(None, (self._system, *(template for _, template in self._examples), self._prompt))

    @property
    def frame(self) -> Frame | None:
        """What is constant in the bodies; None where they differ in more than the texts of fields."""
        return None if self.contents else self._frame

    @property
    def safe_bytes(self) -> float:
        """A line of at most this many bytes is not too long for the model."""
        return self._safe_bytes

    @property
    def blank_without(self) -> tuple[tuple[Field, ...], ...]:
        """The fields of each template that is blank if they are."""
        return tuple(template.fields for template in self.templates if not template.is_text)

    def why_not(self, row: Mapping[str, Any]) -> str:
        """Why a row has no fitting value for a field; empty where it has one for each."""
        try:
            if self._model_input is None:
                for field in self.fields:
                    self.text(field, row.get(field.column))
            elif is_null(row.get(self._model_input)):
                return f"column {self._model_input!r} is null"
            elif isinstance(row[self._model_input], bytes):
                return f"column {self._model_input!r} is binary"
        except NotRenderableError as error:
            return str(error)
        return ""

    def constant(self) -> bytes:
        """What is the same for every record: templates with the same constant give the same lines."""
        frame = self._frame or Frame((), ())
        return orjson.dumps(
            [
                self._family.name,
                [piece.decode() for piece in frame.pieces],
                [field.path for field in frame.fields],
                self._model_input,
                self.null_text,
                self.contents.images,
                self.contents.documents,
                self.contents.conversing,
            ]
        )

    def line(
        self,
        record_id: str,
        row: Mapping[str, Any],
        attachments: Sequence[Attachment] = (),
        conversation: str | None = None,
    ) -> bytes:
        """One line of input, with its newline, from the columns that it needs and the row's contents.

        Raises:
            NotRenderableError: a needed value is null or cannot be written, a body is not a JSON object, or the model would
                reject the body.
        """
        if self._model_input is not None:
            return wire_line(wire_id(record_id), self._given_body(row))
        if self.contents:
            body = self._with_contents(row, attachments, orjson.loads(conversation) if conversation else {})
        else:
            body = self._filled(row)
        self._check_content(body)
        return wire_line(wire_id(record_id), body)

    def text(self, field: Field, value: Any) -> str:
        """The text in the prompt for the value of a field's column.

        Raises:
            NotRenderableError: it is binary, or null without a text for nulls, or has no such field.
        """
        if len(field.path) == 1 and isinstance(value, str):
            return value
        try:
            value = field.value_in(value)
            if not is_null(value):
                return text_of(value)
        except NoTextError as error:
            raise NotRenderableError(f"column {field.column!r} {error}") from None
        if self.null_text is None:
            raise NotRenderableError(f"column {field.name!r} is null")
        return self.null_text

    # --- The constant part

    def _framed(self, parameters: Mapping[str, Any], answer: AnswerFormat | None) -> Frame | None:
        """The body around its fields; None where each row has messages or attachments of its own."""
        fields: list[Field] = []

        def marked(template: Template) -> str:
            first = len(fields)
            fields.extend(template.fields)
            return template.fill([_MARK.format(first + n) for n in range(len(template.fields))])

        before = [Turn(_role(role), (marked(template),)) for role, template in self._examples]
        system = marked(self._system) if self._system else None
        fields.append(_OWN_PROMPT)
        prompt = marked(self._prompt) if self._prompt else _MARK.format(len(fields) - 1)
        request = ModelRequest(prompt, system, parameters, answer=answer, before=before)
        self._family.check(request)
        body = self._family.body(request)
        pieces = _MARKED.split(orjson.dumps(body))
        return Frame(tuple(pieces[0::2]), tuple(fields[int(number)] for number in pieces[1::2]))

    def _without_conversation(
        self, parameters: Mapping[str, Any], answer: AnswerFormat | None
    ) -> dict[str, Any]:
        """The members of the body that are the same for each row; none where the family's bodies have a prompt."""
        if "turns" not in self._family.takes:
            return {}
        request = ModelRequest("prompt", "system", parameters, answer=answer)
        own = self._family.conversation(request.system, request.turns)
        return {name: value for name, value in self._family.body(request).items() if name not in own}

    # --- A row's part

    def _filled(self, row: Mapping[str, Any], prompt: str = "") -> bytes:
        """The constant body with the texts of a row; `prompt` is that of a row which brings its own."""
        assert self._frame is not None  # `line` checked it
        pieces = [self._frame.pieces[0]]
        for field, piece in zip(self._frame.fields, self._frame.pieces[1:], strict=True):
            text = prompt if field is _OWN_PROMPT else self.text(field, row.get(field.column))
            pieces += (orjson.dumps(text)[1:-1], piece)
        return b"".join(pieces)

    def _with_contents(
        self, row: Mapping[str, Any], attachments: Sequence[Attachment], said: Mapping[str, Any]
    ) -> bytes:
        """The body of a row that may have attachments, or a prompt or messages of its own."""
        if not attachments and "turns" not in said:
            return self._filled(row, said.get("text", ""))
        try:
            blocks = [self._block(one) for one in attachments]
        except BodyError as error:
            raise NotRenderableError(f"{error.what} {error.fix}") from None
        turns = [Turn(_role(role), (self._fill(template, row),)) for role, template in self._examples]
        if "turns" in said:
            used = {one for turn in said["turns"] for one in turn["content"] if isinstance(one, int)}
            free = [block for number, block in enumerate(blocks) if number not in used]
            turns += _turns(said["turns"], blocks, free)
        else:
            prompt = self._fill(self._prompt, row) if self._prompt else said["text"]
            if self._family.embeds:
                return self._embedded("" if is_blank(prompt) else prompt, blocks)
            turns.append(Turn("user", (*blocks, *([] if is_blank(prompt) else [prompt]))))
        system = [self._fill(self._system, row)] if self._system else []
        system += [said["system"]] if said.get("system") else []
        if "turns" not in self._family.takes:
            raise NotRenderableError(f"model family {self._family.name} takes a prompt, not messages")
        try:
            own = self._family.conversation("\n\n".join(system) or None, turns)
        except BodyError as error:
            raise NotRenderableError(error.what) from None
        return orjson.dumps({**self._constant, **own})

    def _embedded(self, prompt: str, blocks: Sequence[Any]) -> bytes:
        """The body of a row with images whose vector is requested: the text may be missing, and some models take one image."""
        most = self._family.most_images
        if most is not None and len(blocks) > most:
            raise NotRenderableError(f"it has {len(blocks)} images, and the model takes {most}")
        return orjson.dumps(self._family.body(ModelRequest(prompt, None, self._parameters, blocks)))

    def _fill(self, template: Template, row: Mapping[str, Any]) -> str:
        return template.fill([self.text(field, row.get(field.column)) for field in template.fields])

    def _block(self, one: Attachment) -> Any:
        if one.kind in IMAGES:
            return self._family.image(one.kind, base64.b64encode(one.data).decode())
        return self._family.document(one.kind, one.name, one.data)

    def _check_content(self, body: bytes) -> None:
        """Check what can be wrong with the content of a body.

        Raises:
            NotRenderableError: the model would reject it.
        """
        if self._rules is None:
            return
        if self.contents or self.blank_without or len(body) > self._safe_bytes:
            problem = self._rules.content_problem(orjson.loads(body))
            if problem:
                raise NotRenderableError(problem)

    # --- Whole bodies

    def _given(self, row: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
        """A body that a column has, and its JSON."""
        name = self._model_input
        value = row.get(name or "")
        try:
            if isinstance(value, str):
                body = orjson.loads(value)
                # As it was written: the order of keys counts, and numbers may have more digits than ours.
                rendered = value.strip().replace("\n", " ").replace("\r", " ").encode()
            else:
                body = _without_nulls(value)
                rendered = orjson.dumps(body)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            raise NotRenderableError(f"column {name!r} is not JSON") from None
        if _are_messages(body):
            raise NotRenderableError(
                f"column {name!r} is a list of messages, not a JSON object: name it in messages, not in model_input"
            )
        if not isinstance(body, dict):
            raise NotRenderableError(f"column {name!r} is not a JSON object")
        return body, rendered

    def _given_body(self, row: Mapping[str, Any]) -> bytes:
        body, rendered = self._given(row)
        if self._rules and (problem := self._rules.problem(body)):
            raise NotRenderableError(f"column {self._model_input!r}: {problem}")
        return rendered


def _turns(said: list[dict[str, Any]], blocks: list[Any], free: list[Any]) -> list[Turn]:
    """A conversation's turns; blocks that it does not place precede its last message of the user."""
    turns = [
        Turn(turn["role"], tuple(blocks[one] if isinstance(one, int) else one for one in turn["content"]))
        for turn in said
    ]
    last = max(number for number, turn in enumerate(turns) if turn.role == "user")
    turns[last] = Turn("user", (*free, *turns[last].content))
    return turns


def _role(name: str) -> Role:
    return "assistant" if name == "assistant" else "user"


def _are_messages(body: object) -> bool:
    return (
        isinstance(body, list) and bool(body) and all(isinstance(one, dict) and "role" in one for one in body)
    )


def _without_nulls(value: Any) -> Any:
    """A struct without the members that are null: Arrow gives every struct of a column the members of all."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
