"""The pointers to results in the ledger: who moves them, and which datasets are due for it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from psycopg.rows import dict_row

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline_tests.ledger.test_database import Losing
from bedrock_pipeline_tests.ledger.test_submissions import accepted, enter, move_clock, record, seen

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(postgres_dsn: str) -> Iterator[Ledger]:
    with Ledger(postgres_dsn) as ledger:
        yield ledger


@pytest.fixture
def row(ledger: Ledger) -> DatasetRow:
    """A dataset whose only chunk was collected, as a publisher reads it."""
    [chunk_id] = enter(ledger, 1)
    accepted(ledger, chunk_id, "arn:1")
    ledger.jobs.observe([seen("arn:1", "completed", 100)])
    tally = Tally(100, answered=100, final_errors=0, input_tokens=1, output_tokens=1)
    assert record(ledger, chunk_id, tally, parsed_uri="s3://b/parsed/")
    return now(ledger)


def now(ledger: Ledger) -> DatasetRow:
    found = ledger.datasets.get("p", "d")
    assert found is not None
    return found


def due(ledger: Ledger) -> list[str]:
    return [one.dataset for one in ledger.publications.due(["p"], 9)]


def test_of_two_publishers_the_first_moves_the_pointer(ledger: Ledger, row: DatasetRow) -> None:
    assert due(ledger) == ["d"]
    assert ledger.publications.record(row, uri="s3://b/first/", answered=100, failed=0)
    assert not ledger.publications.record(row, uri="s3://b/second/", answered=50, failed=50)
    published = now(ledger)
    assert (published.publication, published.state) == (row.publication + 1, "published")
    assert (published.results_uri, published.published_records, published.published_failed) == (
        "s3://b/first/",
        100,
        0,
    )


def test_a_publisher_of_an_earlier_version_moves_no_pointer(ledger: Ledger, row: DatasetRow) -> None:
    ledger.datasets.request("p", "d", {}, launch=False, new_version=True)
    before = now(ledger)
    assert before.version == row.version + 1
    assert not ledger.publications.record(row, uri="s3://b/late/", answered=100, failed=0)
    assert now(ledger) == before


def test_latest_json_is_due_until_the_last_pointer_is_known_to_be_written(
    ledger: Ledger, row: DatasetRow
) -> None:
    """A publisher writes for the first publication, sleeps while there is a second, and never ends its write."""
    publications = ledger.publications
    assert publications.record(row, uri="s3://b/first/", answered=100, failed=0)
    first = now(ledger)
    assert due(ledger) == ["d"], "nothing is written yet"
    publications.begin_latest(first)
    assert publications.record(first, uri="s3://b/second/", answered=100, failed=0)
    second = now(ledger)
    assert not publications.record_latest(first, 1), "what it wrote is old"
    assert now(ledger).latest_writes == 1
    assert due(ledger) == ["d"]

    publications.begin_latest(second)
    assert publications.record_latest(second, 1)
    assert now(ledger).latest_written_publication == second.publication
    assert (now(ledger).latest_writes, due(ledger)) == (1, []), "the other write may still come"
    move_clock(ledger, HOUR)
    assert due(ledger) == ["d"]
    publications.record_latest_checked(now(ledger))
    assert due(ledger) == []
    move_clock(ledger, HOUR / 2)
    assert due(ledger) == [], "the next look is after as long again"
    move_clock(ledger, HOUR)
    assert due(ledger) == ["d"]
    publications.record_latest_checked(second)
    assert due(ledger) == ["d"], "who read an earlier row puts off nothing"
    move_clock(ledger, timedelta(days=1))
    publications.record_latest_checked(now(ledger))
    assert (now(ledger).latest_writes, due(ledger)) == (0, []), "whatever wrote is dead by now"


def test_a_version_whose_table_has_rejected_it_waits_for_an_operator(ledger: Ledger, row: DatasetRow) -> None:
    ledger.publications.reject(row, "column n\0 is of another type")
    assert now(ledger).publication_rejected == "column n is of another type"
    assert due(ledger) == []
    assert ledger.interventions.retry_publication("p", "d")
    assert not ledger.interventions.retry_publication("p", "d")
    assert due(ledger) == ["d"]


def test_a_rejection_is_late_where_another_has_published(ledger: Ledger, row: DatasetRow) -> None:
    """The table was changed meanwhile, and took the results of another publisher."""
    assert ledger.publications.record(row, uri="s3://b/first/", answered=100, failed=0)
    ledger.publications.reject(row, "column n is of another type")
    assert now(ledger).publication_rejected is None


@pytest.mark.parametrize("lost", ["acknowledgement", "commit"])
def test_the_pointer_is_moved_once_whichever_part_of_a_commit_is_lost(
    row: DatasetRow, postgres_dsn: str, lost: str
) -> None:
    def connect() -> Losing:
        return Losing.connect(postgres_dsn, row_factory=dict_row)

    with Ledger(postgres_dsn, connect=connect) as ledger:
        now(ledger)  # connected
        Losing.lost[:] = [lost]
        assert ledger.publications.record(row, uri="s3://b/first/", answered=100, failed=0)
        published = now(ledger)
        assert published.publication == row.publication + 1
        ledger.publications.begin_latest(published)
        Losing.lost[:] = [lost]
        assert ledger.publications.record_latest(published, 1)
        assert not Losing.lost
        assert now(ledger).latest_writes == 0
