"""A batch of rows is classified as its rows are one by one, by the rules for single values."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.models import family_of
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.row_classifier import classify
from bedrock_pipeline.records.record_ids import record_id_of
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources import RowBatch

CLAUDE = family_of("anthropic.claude-3-haiku-20240307-v1:0")
cells = st.none() | st.sampled_from([b"a", b"row 1", b"", b"\x00", b"\xff", b"\xc3\xbc", b"x" * 257])


@given(
    rows=st.lists(st.tuples(cells, cells, st.none() | st.integers(0, 9)), min_size=1, max_size=12),
    null_text=st.none() | st.just("-"),
    derived=st.booleans(),
)
def test_rows_are_classified_as_one_by_one(
    rows: list[tuple[bytes | None, bytes | None, int | None]], null_text: str | None, derived: bool
) -> None:
    template = RequestTemplate(CLAUDE, prompt="{{ t }} {{ n }}", model_input=None, null_text=null_text)
    earlier = [Rejection(1, "line is not JSON")]
    positions = range(0, 2 * len(rows), 2)
    columns = [pa.array([row[number] for row in rows], pa.binary()).view(pa.string()) for number in (0, 1)]
    batch = pa.RecordBatch.from_arrays(
        [*columns, pa.array([row[2] for row in rows], pa.int64())], names=["id", "t", "n"]
    )
    kept: list[dict[str, Any]] = []
    rejected = list(earlier)
    for position, (id_bytes, text_bytes, number) in zip(positions, rows, strict=True):
        try:
            value, text = (None if cell is None else cell.decode() for cell in (id_bytes, text_bytes))
        except UnicodeDecodeError:
            rejected.append(Rejection(position, "row is not UTF-8"))
            continue
        record_id, reason = (None, "") if derived else record_id_of(value)
        reason = reason or template.why_not({"t": text, "n": number})
        if reason:
            rejected.append(Rejection(position, reason, record_id))
        else:
            kept.append({"position": position, "record_id": record_id, "t": text, "n": number})
    for kernel in ("on", "off"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SWITCH, kernel)
            found = classify(
                RowBatch(batch, positions, earlier), template, None if derived else "id", ("t", "n")
            )
        assert found.rows.to_pylist() == [{"t": row["t"], "n": row["n"]} for row in kept]
        assert len(found.ids) == len(kept)
        assert derived or found.ids.to_pylist() == [row["record_id"] for row in kept]
        assert list(found.positions) == [row["position"] for row in kept]
        reported = [(one.position, one.reason, None if derived else one.record_id) for one in found.rejected]
        assert reported == sorted((one.position, one.reason, one.record_id) for one in rejected)
