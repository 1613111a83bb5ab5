"""A source as an immutable snapshot: parquet parts with record ids, and the rejected rows.

The input is read once. The parts are in a local work folder; memory does not grow with the input.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.attachments import COLUMN as ATTACHMENTS
from bedrock_pipeline.prepare.snapshot.attachments import DIGEST, Fetch, nowhere
from bedrock_pipeline.prepare.snapshot.column_rules import field_values, texts_of
from bedrock_pipeline.prepare.snapshot.content_hash import Fingerprint
from bedrock_pipeline.prepare.snapshot.duplicates import (
    CANONICAL,
    LaterOccurrences,
    SeenHashes,
    later_occurrences,
    row_hashes,
    write_keys,
)
from bedrock_pipeline.prepare.snapshot.row_classifier import classify
from bedrock_pipeline.prepare.snapshot.row_contents import CONVERSATION, with_contents
from bedrock_pipeline.prompts.template import Field
from bedrock_pipeline.records.parquet_writer import Compression, GroupedWriter
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.records.result_schema import RESERVED
from bedrock_pipeline.sources.source import Source

#: Rows of one part at most, and its approximate bytes in memory.
PART_ROWS = 100_000
PART_BYTES = 128_000_000
#: The snapshot's column with the number of each row in the input.
POSITION = "__position"


class EmptyDatasetError(InvalidInputError):
    """There is no record to send."""


class ColumnError(InvalidInputError):
    """A named column does not exist, or its name is taken."""


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What a snapshot holds.

    Attributes:
        template: the request; its columns are kept.
        record_id: column with the ids; None derives them from the content.
        carry: columns to carry along.
        ask_identical_once: whether rows with the same request share one response.
    """

    template: RequestTemplate
    record_id: str | None
    carry: tuple[str, ...]
    ask_identical_once: bool = True

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """The snapshot of a pipeline's input."""
        template = RequestTemplate.of(pipeline)
        return cls(template, pipeline.record_id, pipeline.carry, pipeline.ask_identical_once)

    @property
    def request_fields(self) -> tuple[Field, ...]:
        """Two rows with the same texts of these fields share a response; empty if no rows do."""
        contents = self.template.contents
        own = self.template.fields or tuple(Field((name,)) for name in self.template.columns)
        attached = [Field((DIGEST,))] if contents.attached else []
        said = [Field((CONVERSATION,))] if contents.conversing else []
        used = any(field.column == "record_id" for field in own)
        return () if not self.ask_identical_once or used else (*own, *attached, *said)

    @property
    def purpose(self) -> str:
        """What tells contents apart that are the same in their values."""
        return repr([field.path for field in self.request_fields])

    @property
    def kept(self) -> tuple[str, ...]:
        """The input's columns that the snapshot keeps beside `record_id`."""
        wanted = dict.fromkeys((*self.template.columns, *self.carry))
        wanted.pop("record_id", None)  # the snapshot has one of its own
        return tuple(wanted)

    def needed(self, available: Sequence[str]) -> tuple[str, ...]:
        """The input's columns that make the record; a function gets all of them."""
        everything = available if self.template.contents.render else ()
        wanted = dict.fromkeys((*self.kept, *self.template.contents.columns, *everything))
        wanted.pop("record_id", None)
        return tuple(wanted)

    def read(self, available: Sequence[str]) -> tuple[str, ...]:
        """The input's columns that are read."""
        own = [self.record_id] if self.record_id else []
        named = ["record_id"] if "record_id" in self.template.columns else []
        return tuple(dict.fromkeys((*self.needed(available), *own, *named)))

    def check(self, available: Sequence[str]) -> None:
        """Check that the input has the named columns.

        Raises:
            ColumnError: the message names the columns that are missing or taken, and those of the input.
        """
        for template in self.template.templates:
            template.check(available)
        read = self.read(available)
        if missing := [name for name in read if name not in available]:
            raise ColumnError(
                f"The input has no column {', '.join(map(repr, missing))}.",
                f"Its columns are: {', '.join(available)}.",
            )
        if not read:
            raise ColumnError(
                "Neither prompt nor record id names a column, so every record would be the same.",
                f"Its columns are: {', '.join(available)}.",
            )
        if repeated := [name for name in self.carry if self.carry.count(name) > 1]:
            raise ColumnError(f"Column {repeated[0]!r} is named twice in carry.", "Name it once.")
        own_id = {"record_id"} if self.record_id == "record_id" else set()
        if taken := [name for name in self.carry if name in RESERVED - own_id]:
            raise ColumnError(
                f"Column {taken[0]!r} cannot be carried along: the results have a column of that name.",
                "Rename it.",
            )
        if "record_id" in self.template.columns and self.record_id != "record_id":
            raise ColumnError("The prompt uses a column 'record_id' that is not the record id.", "Rename it.")
        for name in (POSITION, CANONICAL, ATTACHMENTS, DIGEST, CONVERSATION):
            if name in read:
                raise ColumnError(f"A column cannot be named {name!r}.", "Rename it.")
        if "record_id" in self.template.contents.columns:
            raise ColumnError(
                "A column of images, documents or messages cannot be named 'record_id'.", "Rename it."
            )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in the work folder.

    Attributes:
        parts: parquet files of the canonical records, in order, with the number of each row in the input.
        duplicate_parts: parquet files of the duplicates: record id, its canonical record's (`CANONICAL`), and the carried columns.
        schema: of the records.
        records: duplicates included.
        content_hash: 32 hexadecimal characters over ids and values, in order, and the columns of the request.
    """

    parts: list[Path]
    duplicate_parts: list[Path]
    schema: pa.Schema
    records: int
    duplicates: int
    content_hash: str


def write_snapshot(
    source: Source,
    plan: SnapshotPlan,
    folder: Path,
    rejected: RejectionWriter,
    fetch: Fetch = nowhere,
    *,
    compression: Compression = "lz4",
) -> Snapshot:
    """Read the source once into `folder`, an empty work folder.

    The parts are complete after one pass if all record ids, and all requests, differ. Else they are read again, and
    written without duplicates. As a compression lz4 is quick, for parts that are deleted soon.

    Raises:
        CarriedAttachmentError: a column with images or documents is to be carried along.
        ColumnError, TemplateError: a column does not exist or its name is taken.
        EmptyDatasetError: the input is empty, or every row was rejected.
        InputError: the input cannot be read.
    """
    available = source.columns()
    plan.check(available)
    ids, requests = SeenHashes(folder / "ids"), SeenHashes(folder / "requests")
    fingerprint = Fingerprint(plan.purpose)
    with _PartWriter(folder, compression) as writer:
        for rows in _records(source, plan, available, rejected, fetch):
            ids.add(row_hashes([rows["record_id"]]))
            if plan.request_fields:
                values = [field_values(rows[field.column], field) for field in plan.request_fields]
                requests.add(row_hashes([one for one in values if one is not None], rows.num_rows))
            fingerprint.add(_content(pa.Table.from_batches([rows])))
            writer.add(rows)
    if not writer.records:
        raise EmptyDatasetError(
            "The dataset holds no record"
            + (f"; {rejected.count} rows were rejected." if rejected.count else "."),
            rejected.summary() if rejected.count else "Check the input.",
        )
    schema = pq.read_schema(writer.parts[0])
    kept = [field for field in schema if field.name not in (POSITION, DIGEST)]
    snapshot = Snapshot(writer.parts, [], pa.schema(kept), writer.records, 0, fingerprint.hexdigest())
    if ids.all_differ() and requests.all_differ():
        return snapshot
    return _without_duplicates(snapshot, plan, rejected, compression)


def _records(
    source: Source, plan: SnapshotPlan, available: Sequence[str], rejected: RejectionWriter, fetch: Fetch
) -> Iterator[pa.RecordBatch]:
    contents = plan.template.contents
    for batch in source.batches(plan.read(available)):
        records = classify(batch, plan.template, plan.record_id, plan.needed(available))
        rejected.add(*records.rejected)
        positions = np.fromiter(records.positions, np.int64, records.rows.num_rows)
        rows = records.rows.append_column(POSITION, pa.array(positions))
        if contents:
            yield from with_contents(
                rows, contents, plan.kept, position=POSITION, rejected=rejected, fetch=fetch
            )
        else:
            yield rows


class _PartWriter:
    """Writes rows into parts of bounded size."""

    def __init__(self, folder: Path, compression: Compression) -> None:
        self._compression: Compression = compression
        self.parts: list[Path] = []
        self.records = 0
        self._folder = folder
        self._part: GroupedWriter | None = None
        self._rows = self._bytes = 0

    def add(self, rows: pa.RecordBatch) -> None:
        if not rows.num_rows:
            return
        if self._part is None:
            self.parts.append(self._folder / f"part-{len(self.parts):05}.parquet")
            self._part = GroupedWriter(self.parts[-1], rows.schema, self._compression)
        self._part.add(rows)
        self._rows += rows.num_rows
        self._bytes += rows.nbytes
        if self._rows >= PART_ROWS or self._bytes >= PART_BYTES:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._part is not None:
            self._part.close()
        self.records += self._rows
        self._part, self._rows, self._bytes = None, 0, 0


def _without_duplicates(
    first: Snapshot, plan: SnapshotPlan, rejected: RejectionWriter, compression: Compression
) -> Snapshot:
    """Reject, or count, later occurrences of a record id; and move duplicates to parts of their own."""
    fingerprint = Fingerprint(plan.purpose)
    parts: list[Path] = []
    duplicate_parts: list[Path] = []
    records = duplicates = 0
    keys = [_write_keys(part, plan) for part in first.parts]
    with later_occurrences(keys, first.parts[0].with_name("spill")) as occurrences:
        if plan.request_fields:
            occurrences.find_duplicates(len(plan.request_fields), rejects_later=plan.record_id is not None)
        for part in first.parts:
            table = _with_unique_ids(part, occurrences, plan, rejected)
            part.unlink()
            fingerprint.add(_content(table.drop_columns([CANONICAL])))
            canonical, repeats = _split(table, plan)
            if canonical.num_rows:
                parts.append(_write(part, canonical, compression))
            if repeats.num_rows:
                path = part.with_name(part.name.replace("part-", "duplicates-"))
                duplicate_parts.append(_write(path, repeats, compression))
            records += table.num_rows
            duplicates += repeats.num_rows
            del table, canonical, repeats  # before the next is read
    return Snapshot(parts, duplicate_parts, first.schema, records, duplicates, fingerprint.hexdigest())


def _keys_of(part: Path) -> Path:
    return part.with_name(part.name.replace("part-", "keys-"))


def _write_keys(part: Path, plan: SnapshotPlan) -> Path:
    """Write the keys of a part: record ids, and the texts that its columns give a request."""
    columns = dict.fromkeys(("record_id", *(field.column for field in plan.request_fields)))
    table = pq.ParquetFile(part).read(columns=list(columns))
    texts = [
        texts_of(table[field.column].combine_chunks(), field, plan.template) for field in plan.request_fields
    ]
    write_keys(_keys_of(part), table["record_id"], texts)
    return _keys_of(part)


def _with_unique_ids(
    part: Path, occurrences: LaterOccurrences, plan: SnapshotPlan, rejected: RejectionWriter
) -> pa.Table:
    """A part with the canonical record of each duplicate.

    Later occurrences of an id from a column are rejected. Derived ids get a counter, so that no row is lost.
    """
    table = pq.ParquetFile(part).read()
    canonical = occurrences.canonical_of(_keys_of(part)) if plan.request_fields else {}
    table = table.append_column(CANONICAL, pa.array(map(canonical.get, range(table.num_rows)), pa.string()))
    later = occurrences.of(_keys_of(part))
    if not later:
        return table
    ids = table["record_id"].to_pylist()
    if plan.record_id is None:
        for row, occurrence in later.items():
            ids[row] = f"{ids[row]}-{occurrence}"
        return table.set_column(0, "record_id", pa.array(ids, pa.string()))
    positions = table[POSITION].to_pylist()
    rejected.add(*(Rejection(positions[row], "record id occurred before", ids[row]) for row in sorted(later)))
    return table.take(pa.array([row for row in range(table.num_rows) if row not in later], pa.int64()))


def _split(table: pa.Table, plan: SnapshotPlan) -> tuple[pa.Table, pa.Table]:
    """The canonical records; and the duplicates: record id, canonical record's id and carried columns."""
    is_duplicate = pc.is_valid(table[CANONICAL])
    carried = [name for name in plan.carry if name != "record_id"]
    repeats = table.select(["record_id", CANONICAL, *carried]).filter(is_duplicate)
    canonical = table.drop_columns([CANONICAL])
    return (
        canonical.filter(pc.invert(is_duplicate)) if repeats.num_rows else canonical,
        repeats,
    )


def _content(table: pa.Table) -> pa.Table:
    """The columns that the content hash covers; of images their digest."""
    return table.select([name for name in table.column_names if name not in (POSITION, ATTACHMENTS)])


def _write(path: Path, table: pa.Table, compression: Compression) -> Path:
    with GroupedWriter(path, table.schema, compression) as writer:
        for rows in table.to_batches():
            writer.add(rows)
    return path
