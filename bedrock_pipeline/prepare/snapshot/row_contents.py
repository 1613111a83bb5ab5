"""What a row brings besides its columns: images, documents, and a prompt that its messages or a function make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import orjson
import pyarrow as pa

from bedrock_pipeline.prepare.snapshot.attachments import (
    Attachment,
    CarriedAttachmentError,
    Fetch,
    NotAnAttachmentError,
    check_together,
    columns_of,
    document_of,
    image_of,
    named_apart,
    nowhere,
)
from bedrock_pipeline.prepare.snapshot.records_batch import Records, taken
from bedrock_pipeline.prompts.conversation import NotAConversationError, conversation_of, messages_in
from bedrock_pipeline.records.cells import has_binary, is_whole, python_values, whole
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.sources.source import BATCH_BYTES

#: Rows that are turned into Python's values at once.
_ROWS: Final = 64


class NotRenderedError(ValueError):
    """The user's function gave no prompt; the message has the type of its exception, never its content."""


@dataclass(frozen=True, slots=True)
class RowContents:
    """How the contents of rows are found.

    Attributes:
        images: columns with images.
        documents: columns with documents.
        messages: column with messages; None if there is none.
        render: function from a row to its prompt or messages; None if there is none.
        nulls: whether a row without an image or a document is sent without.
    """

    images: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    messages: str | None = None
    render: Callable[[dict[str, Any]], Any] | None = None
    nulls: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are needed, besides all of them for `render`."""
        return (*self.images, *self.documents, *([self.messages] if self.messages else []))

    @property
    def attached(self) -> bool:
        """Whether rows can have images or documents."""
        return bool(self.images or self.documents) or self.conversing

    @property
    def conversing(self) -> bool:
        """Whether rows bring their prompts."""
        return self.messages is not None or self.render is not None

    def __bool__(self) -> bool:
        """Whether there is anything to find."""
        return self.attached

    def of(self, row: dict[str, Any], fetch: Fetch) -> tuple[list[Attachment], str | None]:
        """The attachments of a row, and its conversation.

        Raises:
            NotAnAttachmentError, NotAConversationError, NotRenderedError: why it has none.
        """
        found: list[Attachment] = []
        for name in self.images:
            self._add_cells(found, name, row, image_of, fetch)
        for name in self.documents:
            self._add_cells(found, name, row, document_of, fetch)
        conversation = None
        if self.conversing:
            conversation = self._conversation(row, found, fetch)
        return named_apart(found), conversation

    def _add_cells(
        self,
        found: list[Attachment],
        name: str,
        row: Mapping[str, Any],
        read: Callable[[object, Fetch], Attachment],
        fetch: Fetch,
    ) -> None:
        values = [value for value in _listed(row[name]) if value is not None]
        if not values and not self.nulls:
            raise NotAnAttachmentError(f"column {name!r} is null")
        for value in values:
            try:
                found.append(read(value, fetch))
                check_together(found)
            except NotAnAttachmentError as error:
                raise NotAnAttachmentError(f"column {name!r} {error}") from error

    def _conversation(self, row: dict[str, Any], found: list[Attachment], fetch: Fetch) -> str:
        subject = "render" if self.render else f"column {self.messages!r}"

        def attach(kind: Literal["image", "document"], value: object, name: str | None) -> int:
            try:
                found.append(image_of(value, fetch) if kind == "image" else document_of(value, fetch, name))
                check_together(found)
            except NotAnAttachmentError as error:
                raise NotAConversationError(f"has a block of kind {kind} that {error}") from None
            return len(found) - 1

        try:
            value = self._rendered(row) if self.render else messages_in(row[self.messages or ""])
            return conversation_of(value, attach)
        except NotAConversationError as error:
            raise NotAConversationError(f"{subject} {error}") from None

    def _rendered(self, row: dict[str, Any]) -> object:
        assert self.render is not None  # `_conversation` checked it
        try:
            return self.render(row)
        except Exception as error:
            raise NotRenderedError(f"render raised {type(error).__name__}") from None


def with_contents(
    records: Records,
    contents: RowContents,
    keep: Sequence[str],
    *,
    rejected: RejectionWriter,
    fetch: Fetch = nowhere,
) -> Iterator[Records]:
    """Records with their contents, in batches of bounded size; those whose contents cannot be found are rejected.

    Of the columns those of `keep` are kept.

    Raises:
        CarriedAttachmentError: a column of `keep` has images or documents themselves.
    """
    schema = records.rows.schema
    for name in (*contents.images, *contents.documents):
        if name in keep and has_binary(schema.field(name).type):
            raise CarriedAttachmentError(
                f"Column {name!r} holds images or documents and cannot be carried along.",
                "Carry a column that names them.",
            )
    needed = records.rows if contents.render else records.rows.select(dict.fromkeys(contents.columns))
    rest = replace(records, rows=records.rows.select(list(keep)))
    ids = records.ids.to_pylist()
    found: list[tuple[int, list[Attachment], str | None]] = []
    size = 0
    for number, row in enumerate(_rows(needed)):
        if contents.render:
            row = {**row, "record_id": ids[number]}  # the id is the row's, whatever its column is called
        try:
            attachments, conversation = contents.of(row, fetch)
        except (NotAnAttachmentError, NotAConversationError, NotRenderedError) as error:
            rejected.add(Rejection(records.positions[number], str(error), ids[number]))
            continue
        found.append((number, attachments, conversation))
        size += sum(len(one.data) for one in attachments)
        if size >= BATCH_BYTES:
            yield _batch(rest, found, conversing=contents.conversing)
            found, size = [], 0
    if found:
        yield _batch(rest, found, conversing=contents.conversing)


def _listed(cell: object) -> list[Any]:
    """The values of a cell: a list, in files of JSON and CSV as its text, or a single value."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):  # no base64, URI or absolute path does
        with suppress(orjson.JSONDecodeError):
            cell = orjson.loads(cell)
    return cell if isinstance(cell, list) else [cell]


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as plain dicts, a few of them in memory at a time."""
    names = batch.schema.names
    for start in range(0, batch.num_rows, _ROWS):
        some = batch.slice(start, _ROWS)
        columns = [
            whole(values) if is_whole(field) else values
            for field, values in zip(batch.schema, map(python_values, some.columns), strict=True)
        ]
        for number in range(some.num_rows):
            yield {name: column[number] for name, column in zip(names, columns, strict=True)}


def _batch(
    rest: Records, found: list[tuple[int, list[Attachment], str | None]], *, conversing: bool
) -> Records:
    rows = [number for number, _, _ in found]
    attachments, digests = columns_of([some for _, some, _ in found])
    said = pa.array([conversation for _, _, conversation in found], pa.string())
    return Records(
        rest.ids.take(pa.array(rows, pa.int64())),
        taken(rest.rows, rows),
        [rest.positions[row] for row in rows],
        attachments=attachments,
        digests=digests,
        conversations=said if conversing else None,
    )
