"""What may be deleted of a version in each state, over a ledger that has rows in every state."""

from datetime import timedelta
from typing import get_args
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.retention import ChunkFiles, Extent, OldVersion
from bedrock_pipeline.ledger.rows import State
from bedrock_pipeline.retention.decision import decide, files_of
from bedrock_pipeline_tests.upgrade.every_state import fill

AGE = timedelta(days=30)
#: The datasets of `every_state`, each named after what it is in, and why it is kept; those that have not ended are not here.
KEPT = {
    **dict.fromkeys(
        ("partially-completed", "completed", "expired", "stopped", "failed", "cancelled-in-time", "none"),
        "1 chunks have responses to collect",
    ),
    **dict.fromkeys(
        (
            *("partially-completed-collected", "completed-collected", "expired-collected"),
            *("stopped-collected", "failed-collected", "rejected", "retryable", "waiting", "lost"),
        ),
        "it is packed",
    ),
    "requested": "a launch waits for its preparation",
    "snapshotted": "it is snapshotted",
    "unreadable": "it is failed",
    "2026-01-01": "2 chunks have not ended",
}


def test_versions_in_every_state(postgres_dsn: str) -> None:
    with Ledger(postgres_dsn) as ledger:
        fill(ledger)
        row = ledger.datasets.get("p", "published")
        assert row
        ledger.publications.record_latest(row, row.publication)
        assert ledger.retention.older_than(AGE) == [], "all of them are young"
        later(ledger, 40)
        found = {(one.dataset, one.version): decide(one) for one in ledger.retention.older_than(AGE)}
        assert len(found) > 40
        prunable = {key: one.extent for key, one in found.items() if one.extent}
        assert prunable == {
            ("published", 1): "exchange",
            ("replaced", 1): "everything",
            ("withdrawn", 1): "everything",
        }
        for (dataset, version), decision in found.items():
            if (dataset, version) not in prunable:
                expected = KEPT.get(dataset, "1 chunks have not ended")
                assert decision.why == (KEPT["requested"] if dataset == "replaced" else expected), dataset


def test_a_version_is_as_old_as_its_last_change(postgres_dsn: str) -> None:
    with Ledger(postgres_dsn) as ledger:
        fill(ledger)
        later(ledger, 40)
        ledger.interventions.cancel("p", "pending")
        by_dataset = {one.dataset: one for one in ledger.retention.older_than(AGE)}
        assert not by_dataset["pending"].unchanged
        assert decide(by_dataset["pending"]).why == "it has changed since"
        assert by_dataset["submitting"].unchanged


def test_what_was_deleted_is_not_found_again(postgres_dsn: str) -> None:
    with Ledger(postgres_dsn) as ledger:
        fill(ledger)
        later(ledger, 40)
        [version] = [one for one in ledger.retention.older_than(AGE) if one.dataset == "withdrawn"]
        ledger.retention.record_pruned(version, "everything")
        assert not [one for one in ledger.retention.older_than(AGE) if one.dataset == "withdrawn"]


def later(ledger: Ledger, days: int) -> None:
    ledger.database.execute(
        "UPDATE bedrock_pipeline.deployment SET clock_offset = make_interval(days => %s)", (days,)
    )


COUNT = st.integers(0, 2)
VERSIONS = st.builds(
    OldVersion,
    pipeline=st.just("p"),
    dataset=st.just("d"),
    version=st.integers(1, 3),
    state=st.sampled_from(get_args(State)),
    pruned=st.sampled_from([None, *get_args(Extent)]),
    **{
        name: st.booleans()
        for name in ("current", "published", "open", "unchanged", "launching", "publishing")
    },
    **dict.fromkeys(("chunks", "unended", "uncollected", "rejected", "retryable", "open_jobs"), COUNT),
)


@given(VERSIONS)
def test_nothing_that_is_needed_goes(version: OldVersion) -> None:
    decision = decide(version)
    if not version.unchanged or version.unended or version.uncollected:
        assert decision.extent is None
    if version.current and (version.retryable or version.rejected or version.launching):
        assert decision.extent is None
    days = ("packed",) if version.open else ()
    if version.current and version.state not in ("published", "cancelled", *days):
        assert decision.extent is None
    if version.published or version.open:
        assert decision.extent != "everything"
    assert decision.extent is None or decision.extent != version.pruned
    assert decision.extent == "everything" or decision.why


CHUNK = UUID(int=7)


def test_folders_are_named_only_where_they_show_whose_they_are() -> None:
    def files(extent: Extent, output: str, parsed: str, snapshot: str) -> tuple[str, ...]:
        request = {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": output}}}
        chunk = ChunkFiles(
            CHUNK, "d--00000", [{"uri": "s3://b/in/0.jsonl"}], "s3://b/in/index", parsed, request
        )
        found = files_of(_version(), [chunk], snapshot, extent)
        return (*found.uris, *found.folders)

    own = f"s3://b/out/p/d/{CHUNK}/", f"s3://b/work/parsed/p/d/{CHUNK}/1/", "s3://b/work/snapshots/p/d/1/"
    assert files("exchange", *own) == ("s3://b/in/0.jsonl", own[0])
    assert files("everything", *own) == ("s3://b/in/0.jsonl", "s3://b/in/index", *own)
    others = "s3://b/", "s3://b/", "s3://b/"
    assert files("everything", *others) == ("s3://b/in/0.jsonl", "s3://b/in/index")


def _version() -> OldVersion:
    return OldVersion(
        pipeline="p",
        dataset="d",
        version=1,
        state="replaced",
        pruned=None,
        current=False,
        published=False,
        open=False,
        unchanged=True,
        launching=False,
        publishing=False,
        chunks=1,
        unended=0,
        uncollected=0,
        rejected=0,
        retryable=0,
        open_jobs=0,
    )
