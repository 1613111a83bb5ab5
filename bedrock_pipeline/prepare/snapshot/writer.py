"""A source as an immutable snapshot: parquet parts with record ids, and the rejected rows.

The input is read once. The parts are in a local work folder; memory does not grow with the input.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.prepare.snapshot.attachments import Fetch, nowhere
from bedrock_pipeline.prepare.snapshot.column_rules import field_values, texts_of
from bedrock_pipeline.prepare.snapshot.content_hash import Fingerprint
from bedrock_pipeline.prepare.snapshot.duplicates import (
    LaterOccurrences,
    SeenHashes,
    later_occurrences,
    row_hashes,
    write_keys,
)
from bedrock_pipeline.prepare.snapshot.empty_cells import EmptyCells
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.prepare.snapshot.row_classifier import classify
from bedrock_pipeline.prepare.snapshot.row_contents import with_contents
from bedrock_pipeline.prepare.snapshot.stored_columns import (
    ATTACHMENTS,
    ATTACHMENTS_DIGEST,
    CANONICAL,
    CONVERSATION,
    POSITION,
    RECORD_ID,
    input_columns,
    input_schema,
)
from bedrock_pipeline.prompts.template import Field
from bedrock_pipeline.records.parquet_writer import Compression, GroupedWriter
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.sources.errors import TypesChangedError
from bedrock_pipeline.sources.source import Source

#: Rows of one part at most, and its approximate bytes in memory.
PART_ROWS = 100_000
PART_BYTES = 128_000_000
_FLOAT_IDS = (
    "Record ids are floats (column {!r}), as pandas stores whole numbers among which some are missing: "
    "12345.0 is the record id 12345."
)


class EmptyDatasetError(InvalidInputError):
    """There is no record to send."""

    @classmethod
    def of(cls, rejected: RejectionWriter) -> Self:
        """With the reasons for which rows were rejected, the most frequent ones first."""
        if not rejected.count:
            return cls("The dataset has no record.", "Check the input.")
        return cls(f"The dataset has no record; {rejected.count} rows were rejected.", rejected.summary())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in the work folder.

    Attributes:
        parts: parquet files of the canonical records, in order (`stored_columns`).
        duplicate_parts: parquet files of the duplicates: record id, its canonical record's, and the carried columns.
        schema: record id and the input's columns, under their names in it.
        records: duplicates included.
        content_hash: 32 hexadecimal characters over ids and values, in order, and the columns of the request.
        notes: what an operator should know about the records.
    """

    parts: list[Path]
    duplicate_parts: list[Path]
    schema: pa.Schema
    records: int
    duplicates: int
    content_hash: str
    notes: tuple[str, ...] = ()


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
    available = source.columns(plan.named)
    plan.check(available)
    try:
        return _write_snapshot(source, plan, available, folder, rejected, fetch, compression)
    except TypesChangedError:  # rarely, and once
        for part in folder.glob("part-*"):
            part.unlink()
        rejected.clear()
        shutil.rmtree(folder / "hashes", ignore_errors=True)
        return _write_snapshot(source, plan, available, folder, rejected, fetch, compression)


def _write_snapshot(
    source: Source,
    plan: SnapshotPlan,
    available: Sequence[str],
    folder: Path,
    rejected: RejectionWriter,
    fetch: Fetch,
    compression: Compression,
) -> Snapshot:
    hashes = folder / "hashes"
    hashes.mkdir()
    ids, requests = SeenHashes(hashes / "ids"), SeenHashes(hashes / "requests")
    fingerprint = _fingerprint(plan)
    notes: dict[str, None] = {}
    empty = EmptyCells(plan.template.columns)
    with _PartWriter(folder, compression) as writer:
        for records in _records(source, plan, available, rejected, fetch, notes):
            ids.add(row_hashes([records.ids]))
            empty.add(records.rows)
            rows = records.to_stored()
            if plan.shares_responses:
                wanted = _request_fields(rows.schema, plan)
                values = [field_values(rows[column], field) for field, column in wanted]
                requests.add(row_hashes([one for one in values if one is not None], rows.num_rows))
            fingerprint.add(_content(pa.Table.from_batches([rows])))
            writer.add(rows)
    if not writer.records:
        raise EmptyDatasetError.of(rejected)
    schema = input_schema(pq.read_schema(writer.parts[0]))
    noted = (*notes, *empty.notes)
    snapshot = Snapshot(writer.parts, [], schema, writer.records, 0, fingerprint.hexdigest(), noted)
    if ids.all_differ() and requests.all_differ():
        return snapshot
    return _without_duplicates(snapshot, plan, rejected, compression)


def _records(
    source: Source,
    plan: SnapshotPlan,
    available: Sequence[str],
    rejected: RejectionWriter,
    fetch: Fetch,
    notes: dict[str, None],
) -> Iterator[Records]:
    contents = plan.template.contents
    for batch in source.batches(plan.read(available)):
        if plan.record_id is not None and pa.types.is_floating(batch.rows.schema.field(plan.record_id).type):
            notes[_FLOAT_IDS.format(plan.record_id)] = None
        records = classify(
            batch,
            plan.template,
            plan.record_id,
            plan.needed(available),
            digest_long_ids=plan.digests_long_ids,
        )
        rejected.add(*records.rejected)
        if contents:
            yield from with_contents(records, contents, plan.kept, fetch=fetch, rejected=rejected)
        else:
            yield records


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
    fingerprint = _fingerprint(plan)
    parts: list[Path] = []
    duplicate_parts: list[Path] = []
    records = duplicates = 0
    keys = [_write_keys(part, plan) for part in first.parts]
    with later_occurrences(keys, first.parts[0].with_name("spill")) as occurrences:
        if plan.shares_responses:
            columns = len(_request_fields(pq.read_schema(first.parts[0]), plan))
            occurrences.find_duplicates(columns, rejects_later=plan.record_id is not None)
        for part in first.parts:
            table = _with_unique_ids(part, occurrences, plan, rejected)
            part.unlink()
            fingerprint.add(_content(table))
            canonical, repeats = _split(table, plan)
            if canonical.num_rows:
                parts.append(_write(part, canonical, compression))
            if repeats.num_rows:
                path = part.with_name(part.name.replace("part-", "duplicates-"))
                duplicate_parts.append(_write(path, repeats, compression))
            records += table.num_rows
            duplicates += repeats.num_rows
            del table, canonical, repeats  # before the next is read
    digest = fingerprint.hexdigest()
    return Snapshot(parts, duplicate_parts, first.schema, records, duplicates, digest, first.notes)


def _keys_of(part: Path) -> Path:
    return part.with_name(part.name.replace("part-", "keys-"))


def _write_keys(part: Path, plan: SnapshotPlan) -> Path:
    """Write the keys of a part: record ids, and the texts that its columns give a request."""
    stored = _request_fields(pq.read_schema(part), plan) if plan.shares_responses else []
    columns = dict.fromkeys((RECORD_ID, *(column for _, column in stored)))
    table = pq.ParquetFile(part).read(columns=list(columns))
    texts = [
        texts_of(table[column].combine_chunks(), field, plan.template, table.schema.field(column))
        for field, column in stored
    ]
    write_keys(_keys_of(part), table[RECORD_ID], texts)
    return _keys_of(part)


def _with_unique_ids(
    part: Path, occurrences: LaterOccurrences, plan: SnapshotPlan, rejected: RejectionWriter
) -> pa.Table:
    """A part with the canonical record of each duplicate.

    Later occurrences of an id from a column are rejected. Derived ids get a counter, so that no row is lost.
    """
    table = pq.ParquetFile(part).read()
    canonical = occurrences.canonical_of(_keys_of(part)) if plan.shares_responses else {}
    table = table.append_column(CANONICAL, pa.array(map(canonical.get, range(table.num_rows)), pa.string()))
    later = occurrences.of(_keys_of(part))
    if not later:
        return table
    ids = table[RECORD_ID].to_pylist()
    if plan.record_id is None:
        for row, occurrence in later.items():
            ids[row] = f"{ids[row]}-{occurrence}"
        return table.set_column(0, RECORD_ID, pa.array(ids, pa.string()))
    positions = table[POSITION].to_pylist()
    rejected.add(*(Rejection(positions[row], "record id occurred before", ids[row]) for row in sorted(later)))
    return table.take(pa.array([row for row in range(table.num_rows) if row not in later], pa.int64()))


def _split(table: pa.Table, plan: SnapshotPlan) -> tuple[pa.Table, pa.Table]:
    """The canonical records; and the duplicates: record id, canonical record's id and carried columns."""
    is_duplicate = pc.is_valid(table[CANONICAL])
    columns = input_columns(table.schema)
    carried = [columns[name].name for name in plan.carried]
    repeats = table.select([RECORD_ID, CANONICAL, *carried]).filter(is_duplicate)
    canonical = table.drop_columns([CANONICAL])
    return (
        canonical.filter(pc.invert(is_duplicate)) if repeats.num_rows else canonical,
        repeats,
    )


def _request_fields(schema: pa.Schema, plan: SnapshotPlan) -> list[tuple[Field, str]]:
    """What determines the request, with the columns in which it is stored; of attachments their digest."""
    columns = input_columns(schema)
    found = [(field, columns[field.column].name) for field in plan.template.fields]
    return [*found, *((Field((name,)), name) for name in _own_columns(plan))]


def _own_columns(plan: SnapshotPlan) -> list[str]:
    contents = plan.template.contents
    attached = [ATTACHMENTS_DIGEST] if contents.attached else []
    return [*attached, *([CONVERSATION] if contents.conversing else [])]


def _fingerprint(plan: SnapshotPlan) -> Fingerprint:
    fields = [field.path for field in plan.template.fields]
    return Fingerprint(repr([*fields, *_own_columns(plan)] if plan.shares_responses else ()))


def _content(table: pa.Table) -> pa.Table:
    """The columns that the content hash covers, whatever their order; of images their digest."""
    given = {field.name: f"={name}" for name, field in input_columns(table.schema).items()}
    kept = table.select(
        [name for name in table.column_names if name not in (POSITION, ATTACHMENTS, CANONICAL)]
    )
    return kept.rename_columns([given.get(name, name) for name in kept.column_names])


def _write(path: Path, table: pa.Table, compression: Compression) -> Path:
    with GroupedWriter(path, table.schema, compression) as writer:
        for rows in table.to_batches():
            writer.add(rows)
    return path
