"""Output lines joined with the index: in any order, repeated, missing, truncated."""

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.collect.join import lengths_of, rows
from bedrock_pipeline.collect.line_parser import SHAPE, read_line, vector_lengths
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter, manifest_discrepancies
from bedrock_pipeline.models import family_of
from bedrock_pipeline.pricing.prices import Price, Rate
from bedrock_pipeline.records.record_ids import filler_id, wire_id

CLAUDE = family_of("anthropic.claude-3-haiku-20240307-v1:0")
TITAN = family_of("amazon.titan-embed-text-v2:0")
FILLER = filler_id(0)


def metadata(family: Any = CLAUDE) -> ChunkMetadata:
    return ChunkMetadata(family, "m", "d--00000", "arn", 1, ("missing", "no line"))


def answer(record_id: str, text: str = "hi") -> bytes:
    output = {
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 2, "output_tokens": 1},
    }
    return orjson.dumps({"recordId": wire_id(record_id), "modelInput": {}, "modelOutput": output}) + b"\n"


def error(record_id: str) -> bytes:
    return (
        orjson.dumps({"recordId": wire_id(record_id), "error": {"errorCode": 400, "errorMessage": "no"}})
        + b"\n"
    )


@given(
    outcomes=st.lists(
        st.sampled_from(["answer", "error", "both", "twice", "missing"]), min_size=1, max_size=40
    ),
    seed=st.integers(),
    noise=st.lists(
        st.sampled_from([b"{\n", answer("nobody"), error("nobody"), b"null\n", b'{"recordId": 1}\n']),
        max_size=5,
    ),
)
def test_every_record_ends_once_whatever_the_lines(
    outcomes: list[str], seed: int, noise: list[bytes]
) -> None:
    ids = [f"row {number} ü" for number in range(len(outcomes))]
    lines = list(noise)
    for record_id, outcome in zip(ids, outcomes, strict=True):
        lines += [answer(record_id)] * {"answer": 1, "both": 1, "twice": 2}.get(outcome, 0)
        lines += [error(record_id)] * (outcome in ("error", "both"))
    random.Random(seed).shuffle(lines)
    index = pa.table({"record_id": ids, "carried": list(range(len(ids)))})
    counter = TallyCounter()
    batches = list(rows(buffers_of(lines), index, metadata(), counter, None))
    found = {row["record_id"]: row for batch in batches for row in batch.to_pylist()}
    assert sum(batch.num_rows for batch in batches) == len(ids) == len(found)
    for number, (record_id, outcome) in enumerate(zip(ids, outcomes, strict=True)):
        row = found[record_id]
        assert row["carried"] == number
        wanted = {"error": ("failed", "400"), "missing": ("failed", "missing")}.get(
            outcome, ("succeeded", None)
        )
        assert (row["status"], row["error_code"]) == wanted
    assert counter.answered + counter.final_errors == counter.records
    assert counter.missing == outcomes.count("missing")
    assert counter.duplicates == outcomes.count("twice") + outcomes.count("both")
    assert counter.unknown + counter.malformed == len(noise)
    assert counter.input_tokens == 2 * counter.answered


@pytest.mark.parametrize(
    ("lines", "fillers_answered"),
    [
        ([answer(FILLER)], 1),
        ([answer(FILLER).replace(b'"hi"}', b'"hi"},{"type":"text","text":"there"}')], 1),  # two blocks
        ([answer(FILLER), answer(FILLER)], 1),
        ([error(FILLER)], 0),
        ([error(FILLER), answer(FILLER)], 1),
        ([], 0),
    ],
    ids=["plain", "unusual", "twice", "error", "error and answer", "missing"],
)
def test_a_filler_record_gives_no_row_whatever_its_lines(lines: list[bytes], fillers_answered: int) -> None:
    counter = TallyCounter()
    index = pa.table({"record_id": ["a", "b", FILLER]})
    batches = rows(buffers_of([answer("a"), *lines, answer("b")]), index, metadata(), counter, None)
    found = [row for batch in batches for row in batch.to_pylist()]
    assert [(row["record_id"], row["status"]) for row in found] == [("a", "succeeded"), ("b", "succeeded")]
    assert (counter.records, counter.answered, counter.final_errors, counter.missing) == (2, 2, 0, 0)
    assert (counter.fillers, counter.fillers_answered) == (1, fillers_answered)
    assert counter.input_tokens == 4 + 2 * fillers_answered, "fillers are paid for"


def test_an_embedding_becomes_a_list_of_fixed_size() -> None:
    line = orjson.dumps(
        {"recordId": "a", "modelOutput": {"embedding": [0.5] * 256, "inputTextTokenCount": 3}}
    )
    assert vector_lengths(line, TITAN) == {"float": 256}
    batch = pa.Table.from_batches(
        rows(buffers_of([line]), pa.table({"record_id": ["a", "b"]}), metadata(TITAN), TallyCounter(), 256)
    )
    assert batch.schema.field("embedding").type == pa.list_(pa.float32(), 256)
    assert batch["embedding"].to_pylist() == [[0.5] * 256, None]
    assert batch["input_tokens"].to_pylist() == [3, None]


@pytest.mark.parametrize("first", [1, 3, 1_000_000])
def test_a_vector_of_another_length_is_its_own_failure_wherever_it_is(first: int) -> None:
    vectors = [[0.5] * first, [0.5] * 2, [0.25] * 2]
    lines = [_embedded(name, vector) for name, vector in zip("abc", vectors, strict=True)]
    found = _collected(lines, metadata(TITAN))
    assert [(row["record_id"], row["embedding"]) for row in found.to_pylist()] == [
        ("b", vectors[1]),
        ("c", vectors[2]),
        ("a", None),
    ]
    assert found["error_code"].to_pylist() == [None, None, SHAPE]
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), 2)


@pytest.mark.parametrize("lengths", [(1, 2, 2), (2, 2, 1), (2, 2, 2)])
def test_bodies_of_the_users_own_have_vectors_of_the_lengths_that_they_asked_for(
    lengths: tuple[int, ...],
) -> None:
    vectors = [[0.5] * length for length in lengths]
    lines = [_embedded(name, vector) for name, vector in zip("abc", vectors, strict=True)]
    found = _collected(lines, replace(metadata(TITAN), own_bodies=True))
    assert found["embedding"].to_pylist() == vectors
    fixed = lengths[0] if len(set(lengths)) == 1 else -1
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), fixed)


def _embedded(record_id: str, vector: list[float]) -> bytes:
    output = {"embedding": vector, "inputTextTokenCount": 3}
    return orjson.dumps({"recordId": record_id, "modelOutput": output}) + b"\n"


def _collected(lines: list[bytes], of: ChunkMetadata) -> pa.Table:
    [dimension] = lengths_of(buffers_of(lines), of).values()
    index = pa.table({"record_id": ["a", "b", "c"]})
    return pa.Table.from_batches(rows(buffers_of(lines), index, of, TallyCounter(), dimension))


def test_each_line_of_a_record_that_is_not_in_the_index_is_counted() -> None:
    counter = TallyCounter()
    lines = [answer("x"), answer("a"), answer("y"), error("z")]
    found = list(rows(buffers_of(lines), pa.table({"record_id": ["a"]}), metadata(), counter, None))
    assert sum(batch.num_rows for batch in found) == 1
    assert counter.unknown == 3


@pytest.mark.parametrize(("mode", "cost"), [("batch", "0.12"), ("on-demand", "0.24")])
def test_a_single_line_costs_what_its_mode_does(mode: Any, cost: str) -> None:
    _, outcome = read_line(answer("a"), replace(metadata(), price=PRICE, mode=mode), None)
    assert outcome.charge is not None
    assert (outcome.charge.cost_usd, outcome.charge.on_demand_cost_usd) == (Decimal(cost), Decimal("0.24"))
    assert outcome.row.cost_usd == float(cost)


PRICE = Price(
    batch=(Rate(0, Decimal("0.01"), Decimal("0.1")),), on_demand=(Rate(0, Decimal("0.02"), Decimal("0.2")),)
)


@pytest.mark.parametrize(
    ("changes", "lines", "costs", "sums"),
    [
        ({"price": PRICE}, [answer("a"), error("b")], [(0.12, 0.24), (None, None)], ("0.12", "0.24")),
        (
            {"price": PRICE, "mode": "on-demand"},
            [answer("a"), answer("b")],
            [(0.24, 0.24), (0.24, 0.24)],
            ("0.48", "0.48"),
        ),
        (
            {"price": PRICE},
            [answer("a"), answer("a"), error("b")],
            [(0.12, 0.24), (None, None)],
            ("0.12", "0.24"),
        ),
        ({"price": PRICE}, [error("a"), error("b")], [(None, None), (None, None)], ("0", "0")),
        ({"price": None}, [answer("a"), error("b")], [(None, None), (None, None)], (None, None)),
        (
            {"price": PRICE},
            [answer("a"), orjson.dumps({"recordId": "b", "modelOutput": {"content": []}})],
            [(0.12, 0.24), (None, None)],
            (None, None),
        ),
    ],
    ids=["batch", "on-demand", "repeated", "no answer", "unknown price", "a response without token counts"],
)
def test_each_answer_has_its_cost_and_an_unknown_one_makes_the_sum_unknown(
    changes: dict[str, Any],
    lines: list[bytes],
    costs: list[tuple[float | None, float | None]],
    sums: tuple[str | None, str | None],
) -> None:
    counter = TallyCounter()
    index = pa.table({"record_id": ["a", "b"]})
    batch = pa.Table.from_batches(
        rows(buffers_of(lines), index, replace(metadata(), **changes), counter, None)
    )
    found = {row["record_id"]: row for row in batch.to_pylist()}
    for record_id, expected in zip(("a", "b"), costs, strict=True):
        assert (found[record_id]["cost_usd"], found[record_id]["on_demand_cost_usd"]) == expected
    assert [counter.cost_usd, counter.on_demand_cost_usd] == [one and Decimal(one) for one in sums]


def test_an_answer_of_another_shape_is_a_final_error_of_its_own() -> None:
    line = orjson.dumps({"recordId": "a", "modelOutput": {"unexpected": 1}})
    batch = pa.Table.from_batches(
        rows(buffers_of([line]), pa.table({"record_id": ["a"]}), metadata(), TallyCounter(), None)
    )
    assert batch["error_code"].to_pylist() == ["answer-shape"]


def test_half_a_surrogate_pair_costs_a_character_and_not_the_answer() -> None:
    line = answer("a").replace(b'"hi"', b'"cut \\ud83d"')
    batch = pa.Table.from_batches(
        rows(buffers_of([line]), pa.table({"record_id": ["a"]}), metadata(), TallyCounter(), None)
    )
    assert batch["output_text"].to_pylist() == ["cut ?"]


@pytest.mark.parametrize(
    ("rest", "code", "message"),
    [
        ({"error": "throttled"}, "unknown", "throttled"),
        ({"error": {"errorCode": "429"}}, "429", ""),
        ({"error": None}, "unknown", ""),
        ({"modelOutput": "text"}, "answer-shape", "the answer is not an object"),
        ({"modelOutput": {"content": [1]}}, "answer-shape", "a content block is not an object"),
        ({}, "unknown", ""),
    ],
)
def test_a_line_of_an_odd_shape_is_an_error_of_its_record_alone(
    rest: dict[str, Any], code: str, message: str
) -> None:
    lines = [orjson.dumps({"recordId": "a", **rest}), answer("b")]
    batch = pa.Table.from_batches(
        rows(buffers_of(lines), pa.table({"record_id": ["a", "b"]}), metadata(), TallyCounter(), None)
    )
    found = {row["record_id"]: row for row in batch.to_pylist()}
    assert (found["a"]["error_code"], found["a"]["error_message"]) == (code, message)
    assert found["b"]["status"] == "succeeded"


def test_a_manifest_that_differs_says_where() -> None:
    counter = TallyCounter(2, answered=1, final_errors=1)
    assert manifest_discrepancies({"totalRecordCount": 2, "successRecordCount": 1}, counter) == []
    assert manifest_discrepancies({"successRecordCount": 2}, counter) == [
        "successRecordCount is 2 in the manifest and 1 in the lines"
    ]
