"""A source into an immutable snapshot: parquet parts with record ids, and what was rejected.

What belongs here: reading the input once, giving ids, finding duplicates, hashing the content. Writes into a
local work folder; memory does not grow with the input.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot import images
from bedrock_pipeline.prepare.snapshot.assign_ids import identified
from bedrock_pipeline.prepare.snapshot.content_hash import Fingerprint
from bedrock_pipeline.prepare.snapshot.duplicates import LaterOccurrences, later_occurrences
from bedrock_pipeline.prepare.snapshot.images import Fetch, nowhere, with_images
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.records.result_schema import RESERVED
from bedrock_pipeline.sources.source import IntakeBatch, Source, batch_rows

#: Rows of one part at the most, and its bytes in memory, about.
PART_ROWS = 100_000
PART_BYTES = 128_000_000
_POSITION = "__position"
_CANONICAL = "__canonical"


class EmptyDatasetError(BedrockPipelineError):
    """Nothing is left to be asked."""


class ColumnError(BedrockPipelineError):
    """A column that is named does not exist, or its name is taken."""


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What a snapshot holds.

    Attributes:
        template: the request; its columns are kept.
        record_id: column with the ids; None derives them.
        carry: columns to carry along.
        ask_identical_once: whether rows that ask the same share one answer.
    """

    template: RequestTemplate
    record_id: str | None
    carry: tuple[str, ...]
    ask_identical_once: bool = True

    @property
    def asked(self) -> tuple[str, ...]:
        """Two rows with the same values of these columns share an answer; empty where none do."""
        columns = (*self.template.columns, *([images.DIGEST] if self.template.image_columns else []))
        return () if not self.ask_identical_once or "record_id" in columns else columns

    @property
    def kept(self) -> tuple[str, ...]:
        """The input's columns that the snapshot keeps beside `record_id`."""
        wanted = dict.fromkeys((*self.template.columns, *self.carry))
        wanted.pop("record_id", None)  # the snapshot has one of its own
        return tuple(wanted)

    @property
    def needed(self) -> tuple[str, ...]:
        """The input's columns that make the record: what is kept, and the images in the form that they come in."""
        return tuple(dict.fromkeys((*self.kept, *self.template.image_columns)))

    @property
    def read(self) -> tuple[str, ...]:
        """The input's columns that are read."""
        return tuple(dict.fromkeys((*self.needed, *([self.record_id] if self.record_id else []))))

    def check(self, available: Sequence[str]) -> None:
        """Say so where the input does not have what is named.

        Raises:
            ColumnError: it names what is missing or taken, and what there is.
        """
        if missing := [name for name in self.read if name not in available]:
            raise ColumnError(
                f"The input has no column {', '.join(map(repr, missing))}.",
                f"Its columns are: {', '.join(available)}.",
            )
        if not self.read:
            raise ColumnError(
                "Neither prompt nor record id names a column, so every record would be the same.",
                f"Its columns are: {', '.join(available)}.",
            )
        if doubled := [name for name in self.carry if self.carry.count(name) > 1]:
            raise ColumnError(f"Column {doubled[0]!r} is to be carried along twice.", "Name it once.")
        own_id = {"record_id"} if self.record_id == "record_id" else set()
        if taken := [name for name in self.carry if name in RESERVED - own_id]:
            raise ColumnError(
                f"Column {taken[0]!r} cannot be carried along: the results have a column of that name.",
                "Rename it.",
            )
        if "record_id" in self.template.columns and self.record_id != "record_id":
            raise ColumnError("The prompt uses a column 'record_id' that is not the record id.", "Rename it.")
        for name in (_POSITION, _CANONICAL, images.COLUMN, images.DIGEST):
            if name in self.read:
                raise ColumnError(f"A column cannot be named {name!r}.", "Rename it.")
        if "record_id" in self.template.image_columns:
            raise ColumnError("A column of images cannot be named 'record_id'.", "Rename it.")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in the work folder.

    Attributes:
        parts: parquet files of what is asked, in order.
        duplicate_parts: parquet files of the duplicates: record id, its canonical record's, and the carried columns.
        rejected: parquet file of the rows that were left out.
        records: duplicates included.
        content_hash: 32 hexadecimal characters over ids and values, in order, and what makes requests alike.
    """

    parts: list[Path]
    duplicate_parts: list[Path]
    rejected: Path
    schema: pa.Schema
    records: int
    duplicates: int
    rejections: dict[str, int]
    content_hash: str


def write_snapshot(source: Source, plan: SnapshotPlan, folder: Path, fetch: Fetch = nowhere) -> Snapshot:
    """Read the source once into `folder`.

    Args:
        source: the input.
        plan: what is kept of it.
        folder: an empty work folder.
        fetch: reads an image from where a cell says.

    Raises:
        CarriedImageError: a column is to be carried along that holds images.
        ColumnError: a column does not exist or its name is taken.
        EmptyDatasetError: the input is empty, or every row was rejected.
        InputError: the input cannot be read.
    """
    plan.check(source.columns())
    rejected = RejectionWriter(folder / "rejected.parquet")
    raw = folder / "raw"
    raw.mkdir()
    parts = list(_write_parts(_identified(source, plan, rejected, fetch), raw))
    fingerprint = Fingerprint(repr(plan.asked))
    final: list[Path] = []
    following: list[Path] = []
    records = duplicates = 0
    schema = pa.schema([])
    with later_occurrences(parts, folder / "spill") if parts else nullcontext() as doubled:
        if doubled and plan.asked:
            doubled.find_duplicates(plan.asked, rejects_later=plan.record_id is not None)
        for number, part in enumerate(parts):
            asked, repeats = _split(_finished(part, doubled, plan, rejected, fingerprint), plan)
            part.unlink()
            if asked.num_rows:
                final.append(folder / f"part-{number:05}.parquet")
                pq.write_table(asked, final[-1], compression="zstd", row_group_size=_rows_at_once(asked))
                schema = asked.schema
            if repeats.num_rows:
                following.append(folder / f"duplicates-{number:05}.parquet")
                pq.write_table(repeats, following[-1], compression="zstd")
            records += asked.num_rows + repeats.num_rows
            duplicates += repeats.num_rows
            del asked, repeats  # before the next is read
    rejected.close()
    if not records:
        raise EmptyDatasetError(
            "The dataset holds no record"
            + (f"; {rejected.count} rows were rejected." if rejected.count else "."),
            f"Reasons: {dict(rejected.by_reason)}." if rejected.count else "Check the input.",
        )
    return Snapshot(
        parts=final,
        duplicate_parts=following,
        rejected=rejected.path,
        schema=schema,
        records=records,
        duplicates=duplicates,
        rejections=dict(rejected.by_reason),
        content_hash=fingerprint.hexdigest(),
    )


def _finished(
    part: Path,
    occurrences: LaterOccurrences | None,
    plan: SnapshotPlan,
    rejected: RejectionWriter,
    fingerprint: Fingerprint,
) -> pa.Table:
    """A part with the canonical records of its duplicates, without doubles, hashed."""
    table = pq.ParquetFile(part).read()
    canonical = occurrences.canonical_of(part) if occurrences and plan.asked else {}
    table = table.append_column(_CANONICAL, pa.array(map(canonical.get, range(table.num_rows)), pa.string()))
    doubled = occurrences.of(part) if occurrences else {}
    table = _without_doubles(table, doubled, plan, rejected).drop_columns([_POSITION])
    pictures = bool(plan.template.image_columns)
    fingerprint.add(table.drop_columns([_CANONICAL, *([images.COLUMN] if pictures else [])]))
    return table.drop_columns([images.DIGEST]) if pictures else table


def _split(table: pa.Table, plan: SnapshotPlan) -> tuple[pa.Table, pa.Table]:
    """What is asked; and who follows: record id, canonical record's id and carried columns."""
    follows = pc.is_valid(table[_CANONICAL])
    carried = [name for name in plan.carry if name != "record_id"]
    repeats = table.select(["record_id", _CANONICAL, *carried]).filter(follows)
    asked = table.drop_columns([_CANONICAL])
    return (
        asked.filter(pc.invert(follows)) if repeats.num_rows else asked,
        repeats.rename_columns(["record_id", "canonical_id", *carried]),
    )


def _identified(
    source: Source, plan: SnapshotPlan, rejected: RejectionWriter, fetch: Fetch
) -> Iterator[pa.Table]:
    pictures = plan.template.image_columns
    for batch in source.batches(plan.read):
        table = _with_ids(batch, plan, rejected)
        if pictures:
            yield from with_images(
                table,
                pictures,
                [name for name in pictures if name in plan.kept],
                nulls=plan.template.null_text is not None,
                position=_POSITION,
                fetch=fetch,
                rejected=rejected,
            )
        else:
            yield table


def _with_ids(batch: IntakeBatch, plan: SnapshotPlan, rejected: RejectionWriter) -> pa.Table:
    named = identified(batch, plan.template, plan.record_id, plan.needed)
    rejected.add(*named.rejected)
    positions = pa.array(named.positions, pa.int64())
    return pa.Table.from_batches([named.rows]).append_column(_POSITION, positions)


def _write_parts(tables: Iterator[pa.Table], folder: Path) -> Iterator[Path]:
    writer: pq.ParquetWriter | None = None
    rows = size = number = 0
    path = folder
    for table in tables:
        if writer is None:
            path = folder / f"raw-{number:05}.parquet"
            writer = pq.ParquetWriter(path, table.schema, compression="lz4")
            number, rows, size = number + 1, 0, 0
        writer.write_table(table)
        rows += table.num_rows
        size += table.nbytes
        if rows >= PART_ROWS or size >= PART_BYTES:
            writer.close()
            writer = None
            yield path
    if writer is not None:
        writer.close()
        yield path


def _without_doubles(
    table: pa.Table, doubled: dict[int, int], plan: SnapshotPlan, rejected: RejectionWriter
) -> pa.Table:
    """Ids from a column: later occurrences are rejected. Derived ids: they get a counter, no row is lost."""
    if not doubled:
        return table
    ids = table["record_id"].to_pylist()
    if plan.record_id is None:
        for row, occurrence in doubled.items():
            ids[row] = f"{ids[row]}-{occurrence}"
        return table.set_column(0, "record_id", pa.array(ids, pa.string()))
    positions = table[_POSITION].to_pylist()
    rejected.add(
        *(Rejection(positions[row], "record id occurred before", ids[row]) for row in sorted(doubled))
    )
    return table.take(pa.array([row for row in range(table.num_rows) if row not in doubled], pa.int64()))


def _rows_at_once(table: pa.Table) -> int:
    return batch_rows(table.nbytes // max(table.num_rows, 1))
