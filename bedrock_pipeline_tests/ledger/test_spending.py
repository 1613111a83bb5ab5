"""What a dataset may cost, held at every intent, on a real Postgres."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.jobs import Observation
from bedrock_pipeline.ledger.rows import InputFile, NewChunk
from bedrock_pipeline.ledger.spending import NoCapError
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.pricing.estimates import ChunkEstimate, Measured
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline_tests.ledger.entered import SETTINGS, enter_chunks

REQUEST = {"jobName": "x", "modelId": "m"}
LEASE = timedelta(seconds=60)
_NAMES = itertools.count()


def estimate(cost: str | None, guessed: tuple[int, int] = (100, 50)) -> ChunkEstimate:
    return ChunkEstimate(*guessed, *guessed, Decimal(cost) if cost is not None else None)


def new_chunk(sequence: int, cost: str | None, **changes: object) -> NewChunk:
    chunk = NewChunk(
        chunk_id=uuid4(),
        attempt=1,
        sequence=sequence,
        chunk_key=f"d--{sequence:05}",
        records=100,
        bytes=1000,
        files=(InputFile("s3://b/k.jsonl", 100, 1000, "00"),),
        content_hash="00",
        index_uri="s3://b/index.parquet",
        model_id="m",
        quota_group="g in us-east-1",
        request=REQUEST,
        settings_digest=SETTINGS.digest,
        estimate=estimate(cost),
    )
    return replace(chunk, **changes)  # type: ignore[arg-type]  # named by the tests


@pytest.fixture
def ledger(postgres_dsn: str) -> Iterator[Ledger]:
    with Ledger(postgres_dsn) as ledger:
        ledger.migrate()
        yield ledger


def enter(
    ledger: Ledger,
    chunks: list[NewChunk],
    cap: str | None,
    *,
    dataset: str = "d",
    packed_hash: str = "h",
    max_jobs: int = 20,
) -> list[UUID]:
    limit = Decimal(cap) if cap else None
    enter_chunks(ledger, chunks, dataset=dataset, content=packed_hash, max_jobs=max_jobs, max_cost_usd=limit)
    return [chunk.chunk_id for chunk in chunks]


def intend(ledger: Ledger, chunk_id: UUID) -> Intent | NotNow:
    return ledger.submissions.intend(chunk_id, uuid4(), request=REQUEST, lease=LEASE)


def due(ledger: Ledger) -> set[UUID]:
    return {chunk.chunk_id for chunk in ledger.submissions.due(["p"], 50)}


def run(ledger: Ledger, chunk_id: UUID, cost: str | None, tokens: tuple[int, int] = (10, 5)) -> None:
    """Submit a chunk and collect it."""
    intent = intend(ledger, chunk_id)
    assert isinstance(intent, Intent)
    arn = f"arn:{next(_NAMES)}"
    assert ledger.submissions.record_accepted(chunk_id, intent.fence, arn)
    ledger.jobs.observe([Observation(arn, "completed", None, 100, 100, 100, 0)])
    usd = Decimal(cost) if cost else None
    assert ledger.chunks.record_collected(
        chunk_id,
        intent.fence,
        Tally(
            100,
            answered=100,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost_usd=usd,
            on_demand_cost_usd=usd and 2 * usd,
        ),
        parsed_uri="s3://b/parsed/",
    )


def test_nothing_is_submitted_beyond_the_cap_and_it_is_not_due_either(ledger: Ledger) -> None:
    chunks = enter(ledger, [new_chunk(n, "2") for n in range(4)], "5")
    assert [type(intend(ledger, chunk)) for chunk in chunks] == [Intent, Intent, NotNow, NotNow]
    not_now = intend(ledger, chunks[2])
    assert isinstance(not_now, NotNow)
    assert "may cost $5.0000: $4.0000 is spent or in flight" in not_now.reason
    assert "bedrock-pipeline approve p d --up-to 8.00" in not_now.reason
    assert due(ledger) == set(), "the sensor does not request them every few seconds"
    [budget] = ledger.spending.exhausted(["p"], 10)
    assert [budget.cap_usd, budget.committed_usd, budget.wanted_usd] == [5, 4, 8]


def test_a_dataset_without_a_cap_is_not_held_up_by_anything(ledger: Ledger) -> None:
    chunks = enter(ledger, [new_chunk(0, "1000"), new_chunk(1, None)], None)
    assert due(ledger) == set(chunks)
    assert all(isinstance(intend(ledger, chunk), Intent) for chunk in chunks)
    assert ledger.spending.budget("p", "d") is None


def test_an_approval_is_a_row_that_lets_the_rest_go(ledger: Ledger) -> None:
    chunks = enter(ledger, [new_chunk(n, "2") for n in range(4)], "3")
    assert isinstance(intend(ledger, chunks[0]), Intent)
    assert due(ledger) == set()
    for _ in range(2):  # a second click on the same amount
        ledger.spending.approve("p", "d", Decimal("6"), "somebody")
    assert due(ledger) == set(chunks[1:]), "each of them fits by itself; the intent decides"
    assert [type(intend(ledger, chunk)) for chunk in chunks[1:]] == [Intent, Intent, NotNow]
    ledger.spending.approve("p", "d", Decimal("2"), "somebody else")
    budget = ledger.spending.budget("p", "d")
    assert budget is not None
    assert budget.cap_usd == 2, "the last word counts"
    rows = ledger.database.fetch(
        "SELECT up_to_usd, approved_by FROM bedrock_pipeline.approvals WHERE pipeline = 'p' ORDER BY approval_id"
    )
    assert [(row["up_to_usd"], row["approved_by"]) for row in rows] == [(6, "somebody"), (2, "somebody else")]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "0", "-1", "1e12"])
def test_an_amount_that_is_none_is_not_approved(ledger: Ledger, amount: str) -> None:
    with pytest.raises(InvalidInputError, match="number above 0"):
        ledger.spending.approve("p", "d", Decimal(amount), "somebody")


def test_nothing_can_be_approved_where_there_is_no_cap(ledger: Ledger) -> None:
    enter(ledger, [new_chunk(0, "2")], None)
    for dataset in ("d", "absent"):
        with pytest.raises(NoCapError, match="no max_cost_usd"):
            ledger.spending.approve("p", dataset, Decimal(1), "somebody")


def test_a_chunk_without_a_price_is_not_submitted_under_a_cap_until_there_is_one(ledger: Ledger) -> None:
    chunks = [new_chunk(0, None), new_chunk(1, None)]
    first, second = enter(ledger, chunks, "5")
    not_now = intend(ledger, first)
    assert isinstance(not_now, NotNow)
    assert "give `prices`" in not_now.reason
    assert due(ledger) == set()
    priced = [replace(chunk, estimate=estimate("1")) for chunk in chunks]
    enter(ledger, priced, "5")
    assert due(ledger) == {first, second}, "packed again with a price known"
    assert isinstance(intend(ledger, first), Intent)


def test_what_was_spent_counts_as_it_turned_out(ledger: Ledger) -> None:
    chunks = enter(ledger, [new_chunk(n, "2") for n in range(4)], "5")
    run(ledger, chunks[0], "0.5")
    run(ledger, chunks[1], "0.5")
    assert isinstance(intend(ledger, chunks[2]), Intent)
    assert isinstance(intend(ledger, chunks[3]), Intent), "0.5 + 0.5 + 2 + 2 = 5"
    progress = ledger.datasets.progress("p", "d")
    assert [progress.cost_usd, progress.on_demand_cost_usd] == [1, 2]


def test_a_sum_with_an_unknown_cost_is_unknown(ledger: Ledger) -> None:
    chunks = enter(ledger, [new_chunk(n, "2") for n in range(3)], None)
    assert ledger.datasets.progress("p", "d").cost_usd is None, "nothing is collected"
    run(ledger, chunks[0], "0.5")
    assert ledger.datasets.progress("p", "d").cost_usd == Decimal("0.5")
    run(ledger, chunks[1], None)
    progress = ledger.datasets.progress("p", "d")
    assert (progress.cost_usd, progress.on_demand_cost_usd) == (None, None)


def test_a_requeued_chunk_keeps_its_place_and_one_that_ended_unsent_gives_it_back(
    ledger: Ledger,
) -> None:
    chunks = enter(ledger, [new_chunk(n, "2") for n in range(3)], "4")
    first, second = (intend(ledger, chunk) for chunk in chunks[:2])
    assert isinstance(first, Intent)
    assert isinstance(second, Intent)
    assert (
        ledger.submissions.requeue(
            chunks[0],
            first.fence,
            reason="throttled",
            delay=timedelta(0),
            back_off_group=False,
            give_up_after=timedelta(days=1),
        )
        == "requeued"
    )
    assert due(ledger) == {chunks[0]}
    assert isinstance(intend(ledger, chunks[2]), NotNow)
    assert isinstance(intend(ledger, chunks[0]), Intent)
    assert ledger.submissions.reject(chunks[1], second.fence, reason="denied")
    assert isinstance(intend(ledger, chunks[2]), Intent)


def test_chunks_of_a_later_round_are_held_too(ledger: Ledger, postgres_dsn: str) -> None:
    [first] = enter(ledger, [new_chunk(0, "2")], "3")
    run(ledger, first, "2.5")
    later = new_chunk(0, "1", attempt=2, chunk_key="d--r2-00000")
    ledger.database.execute(
        """INSERT INTO bedrock_pipeline.chunks (chunk_id, pipeline, dataset, dataset_version, attempt, sequence, chunk_key, records,
               bytes, files, content_hash, index_uri, model_id, quota_group, request, settings_digest, estimated_cost_usd)
           SELECT %s, pipeline, dataset, dataset_version, 2, 0, %s, records, bytes, files, content_hash, index_uri, model_id,
               quota_group, request, settings_digest, 1 FROM bedrock_pipeline.chunks WHERE chunk_id = %s""",
        (later.chunk_id, later.chunk_key, first),
    )
    assert isinstance(intend(ledger, later.chunk_id), NotNow)
    ledger.spending.approve("p", "d", Decimal("3.5"), "somebody")
    assert isinstance(intend(ledger, later.chunk_id), Intent)


def test_a_new_version_has_the_cap_anew_and_the_old_one_is_not_paid_for_any_more(ledger: Ledger) -> None:
    old = enter(ledger, [new_chunk(n, "2") for n in range(2)], "3")
    assert isinstance(intend(ledger, old[0]), Intent)
    ledger.spending.approve("p", "d", Decimal("100"), "somebody")
    ledger.datasets.request("p", "d", {"max_cost_usd": 3}, launch=False, new_version=True)
    [new] = enter(ledger, [new_chunk(0, "2", chunk_key="d--v2-00000")], "3", packed_hash="h2")
    assert isinstance(intend(ledger, old[1]), NotNow)
    assert due(ledger) == {new}
    budget = ledger.spending.budget("p", "d")
    assert budget is not None
    assert [budget.cap_usd, budget.committed_usd] == [3, 0], "the approval was for version 1"
    assert isinstance(intend(ledger, new), Intent)


def test_a_cap_is_no_other_content(ledger: Ledger) -> None:
    ledger.datasets.request("p", "d", {"prompt": "x"}, launch=False)
    [chunk] = enter(ledger, [new_chunk(0, "2")], None)
    assert isinstance(intend(ledger, chunk), Intent)
    row = ledger.datasets.request("p", "d", {"prompt": "x", "max_cost_usd": 3}, launch=True)
    assert row.version == 1
    assert row.launch_requested_at is not None


@pytest.mark.parametrize("mode", ["batch", "on-demand"])
def test_racing_threads_never_commit_more_than_the_cap(ledger: Ledger, postgres_dsn: str, mode: str) -> None:
    """Each has a quota group of its own, so that no lock but the dataset's can keep them apart."""
    chunks = enter(
        ledger,
        [new_chunk(n, "1", quota_group=f"g{n % 8} in us-east-1", mode=mode) for n in range(24)],
        "1.5",
    )
    ready = threading.Barrier(8)
    taken: list[UUID] = []
    not_now: list[str] = []

    def race(mine: list[UUID]) -> None:
        with Ledger(postgres_dsn) as own:
            own.datasets.get("p", "d")  # connected
            ready.wait()
            for chunk_id in mine:
                got = intend(own, chunk_id) if mode == "batch" else own.calls.claim(chunk_id, LEASE)
                if isinstance(got, NotNow):
                    not_now.append(got.reason)
                else:
                    taken.append(chunk_id)

    threads = [threading.Thread(target=race, args=(chunks[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert len(not_now) == 23
    assert all("may cost $1.5000: $1.0000 is spent" in reason for reason in not_now)


@dataclass(frozen=True)
class Seen:
    """A chunk that was collected: what was guessed, what was needed."""

    guessed: tuple[int, int]
    tokens: tuple[int, int]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], (0, "1", "1")),
        ([Seen((100, 50), (150, 5))], (1, "1.5", "0.1")),
        ([Seen((100, 50), (150, 5)), Seen((300, 50), (150, 5))], (2, "0.75", "0.1")),
        ([Seen((100, 0), (120, 0))], (1, "1.2", "1")),
        ([Seen((100, 50), (0, 0))], (0, "1", "1")),
    ],
    ids=["nothing yet", "one", "weighed by tokens", "embeddings", "a model that reports no tokens"],
)
def test_what_a_pipeline_needed_corrects_what_is_guessed(
    ledger: Ledger, chunks: list[Seen], expected: tuple[int, str, str]
) -> None:
    entered = enter(
        ledger,
        [new_chunk(n, "0", estimate=estimate("0", seen.guessed)) for n, seen in enumerate(chunks)],
        None,
    )
    for chunk_id, seen in zip(entered, chunks, strict=True):
        run(ledger, chunk_id, "0", seen.tokens)
    count, more_input, more_output = expected
    found = ledger.spending.measured("p", "m")
    assert (found.chunks, found.input, found.output) == (count, Decimal(more_input), Decimal(more_output))
    assert (found.output_each > 0) == (more_output != "1")
    assert ledger.spending.measured("p", "another") == Measured()
    assert ledger.spending.measured("another", "m") == Measured(), "its limits and prompts are others"


@pytest.mark.parametrize(
    ("guessed", "tokens"),
    [(4096 * 10, 1000), (64 * 10, 640), (0, 0)],
    ids=["as before", "a lower limit", "no responses"],
)
def test_responses_are_estimated_as_long_as_before_up_to_the_limit(guessed: int, tokens: int) -> None:
    """Of a pipeline whose responses had 100 tokens of the 4,096 that they might have."""
    measured = Measured(1, Decimal(1), Decimal(100) / Decimal(4096), Decimal(100))
    assert measured.output_tokens(guessed, 10) == tokens
