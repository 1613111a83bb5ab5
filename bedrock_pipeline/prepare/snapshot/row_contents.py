"""What a row brings besides its columns: images, documents, and a prompt that its messages or a function make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyarrow as pa

from bedrock_pipeline.prepare.snapshot.attachments import (
    COLUMN,
    DIGEST,
    Attachment,
    CarriedAttachmentError,
    Fetch,
    NotAnAttachmentError,
    columns_of,
    document_of,
    holds_bytes,
    image_of,
    named_apart,
    nowhere,
)
from bedrock_pipeline.prompts.conversation import NotAConversationError, conversation_of, messages_in
from bedrock_pipeline.prompts.values import rows_of
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.sources.source import BATCH_BYTES

#: The snapshot's column with the prompt or the conversation of a row, as JSON.
CONVERSATION: Final = "__conversation"


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
        found = [
            image_of_cell for name in self.images for image_of_cell in self._cells(name, row, image_of, fetch)
        ]
        found += [one for name in self.documents for one in self._cells(name, row, document_of, fetch)]
        conversation = None
        if self.conversing:
            conversation = self._conversation(row, found, fetch)
        return named_apart(found), conversation

    def _cells(
        self, name: str, row: Mapping[str, Any], read: Callable[[object, Fetch], Attachment], fetch: Fetch
    ) -> Iterator[Attachment]:
        cell = row[name]
        values = [value for value in (cell if isinstance(cell, list) else [cell]) if value is not None]
        if not values and not self.nulls:
            raise NotAnAttachmentError(f"column {name!r} is null")
        for value in values:
            try:
                yield read(value, fetch)
            except NotAnAttachmentError as error:
                raise NotAnAttachmentError(f"column {name!r} {error}") from error

    def _conversation(self, row: dict[str, Any], found: list[Attachment], fetch: Fetch) -> str:
        subject = "render" if self.render else f"column {self.messages!r}"

        def attach(kind: Literal["image", "document"], value: object, name: str | None) -> int:
            try:
                found.append(image_of(value, fetch) if kind == "image" else document_of(value, fetch, name))
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
    table: pa.RecordBatch,
    contents: RowContents,
    keep: Sequence[str],
    *,
    position: str,
    rejected: RejectionWriter,
    fetch: Fetch = nowhere,
) -> Iterator[pa.RecordBatch]:
    """Rows with their contents, in batches of bounded size; rows whose contents cannot be found are rejected.

    The table has `record_id` and a column `position` with the row's number in the input. Of the others those of `keep` are
    kept.

    Raises:
        CarriedAttachmentError: a column of `keep` has images or documents themselves.
    """
    for name in (*contents.images, *contents.documents):
        if name in keep and holds_bytes(table.schema.field(name).type):
            raise CarriedAttachmentError(
                f"Column {name!r} holds images or documents and cannot be carried along.",
                "Carry a column that names them.",
            )
    rest = table.select(["record_id", *keep, position])
    needed = table.drop_columns([position]) if contents.render else table.select(list(contents.columns))
    rows: list[int] = []
    attached: list[list[Attachment]] = []
    said: list[str | None] = []
    size = 0
    for number, row in enumerate(rows_of(needed)):
        try:
            found, conversation = contents.of(row, fetch)
        except (NotAnAttachmentError, NotAConversationError, NotRenderedError) as error:
            where, record_id = table[position][number].as_py(), table["record_id"][number].as_py()
            rejected.add(Rejection(where, str(error), record_id))
            continue
        rows.append(number)
        attached.append(found)
        said.append(conversation)
        size += sum(len(one.data) for one in found)
        if size >= BATCH_BYTES:
            yield _batch(rest, rows, attached, said, contents)
            rows, attached, said, size = [], [], [], 0
    if rows:
        yield _batch(rest, rows, attached, said, contents)


def _batch(
    rest: pa.RecordBatch,
    rows: list[int],
    attached: list[list[Attachment]],
    said: list[str | None],
    contents: RowContents,
) -> pa.RecordBatch:
    found, digests = columns_of(attached)
    batch = rest.take(pa.array(rows, pa.int64())).append_column(COLUMN, found).append_column(DIGEST, digests)
    return batch.append_column(CONVERSATION, pa.array(said, pa.string())) if contents.conversing else batch
