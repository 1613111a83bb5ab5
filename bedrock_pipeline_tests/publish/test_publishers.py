"""Publishers that race, sleep or die: a published version never changes, and `latest.json` follows the ledger."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import NotCompleteError, _pointer, publish_dataset
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.system import inline
from bedrock_pipeline_tests.faults.worker import Death, move_clock, watch
from bedrock_pipeline_tests.journey.driven import finish, pipeline
from bedrock_pipeline_tests.queue.test_queue import config, task
from bedrock_pipeline_tests.waiting import PATIENCE_S


class _Killed(BaseException):
    """The publisher's process ends here."""


class _Day:
    """A queue's dataset of today, to which jobs are added."""

    def __init__(self, deployment: Deployment, queue: BedrockQueue) -> None:
        self.deployment, self.queue = deployment, queue
        self.pipeline: QueuePipeline = queue.config.pipeline()
        self.key = deployment.ledger.queues.today()
        self.base = deployment.settings.uri(deployment.settings.results_prefix, queue.name, self.key, "")

    def job(self, prefix: str) -> None:
        """Another job has results."""
        self.queue.enqueue_many(task(f"{prefix}{number}") for number in range(100))
        self.queue.await_job(self.queue.flush()[0], timeout=PATIENCE_S)

    def publish(self) -> None:
        publish_dataset(self.deployment, self.pipeline, self.key)

    def publish_until(self, effect: str, *, after: bool, strike: Callable[[], None]) -> None:
        """Publish in another process, as it were, to which something happens at an effect, the first of its kind."""
        with open_deployment(self.deployment.settings) as own:
            one_by_one = replace(own, system=replace(own.system, executor=inline))
            watched = watch(one_by_one, Death(effect, after, strike=strike), None)
            with suppress(_Killed):
                publish_dataset(watched, self.pipeline, self.key)

    def row(self) -> DatasetRow:
        row = self.deployment.ledger.datasets.get(self.pipeline.name, self.key)
        assert row is not None
        return row

    def latest(self) -> object:
        return json.loads(self.deployment.objects.get(f"{self.base}latest.json"))

    def parts(self) -> dict[str, bytes]:
        """Every object of the results but `latest.json`."""
        items = list(self.deployment.objects.list(self.base))
        return {
            one.uri: self.deployment.objects.get(one.uri) for one in items if one.uri.endswith(".parquet")
        }

    def due(self) -> list[str]:
        return [row.dataset for row in self.deployment.ledger.publications.due([self.pipeline.name], 10)]

    def check(self) -> None:
        """The pointers agree, and the folder has the rows that the ledger counted."""
        row = self.row()
        failed = row.published_failed or 0
        assert self.latest() == {
            "version": f"v{row.published_version}-{row.publication}",
            "uri": row.results_uri,
            "records": row.published_records,
            "succeeded": (row.published_records or 0) - failed,
            "failed": failed,
        }
        assert row.latest_written_publication == row.publication
        rows = 0
        for uri in self.parts():
            if row.results_uri and uri.startswith(row.results_uri):
                with self.deployment.objects.random_access(uri) as stream:
                    rows += pq.read_metadata(stream).num_rows
        assert rows == row.published_records


@pytest.fixture
def day(deployment: Deployment) -> Iterator[_Day]:
    with BedrockQueue(config(batch_size=1000)) as queue:
        yield _Day(deployment, queue)


@pytest.mark.parametrize(
    ("effect", "after", "versions"),
    [
        ("objects.copy", True, 1),
        ("publications.record", False, 1),
        ("publications.record", True, 2),
        ("objects.put", False, 2),
        ("objects.put", True, 2),
    ],
)
def test_a_publisher_that_sleeps_while_another_publishes_changes_nothing(
    day: _Day, effect: str, after: bool, versions: int
) -> None:
    there: dict[str, bytes] = {}
    day.job("a")
    day.job("b")

    def another_publishes() -> None:
        begun = set(day.parts())
        recorded = day.row().results_uri
        day.job("c")
        day.publish()
        there.update(
            (uri, data)
            for uri, data in day.parts().items()
            if uri not in begun or (recorded and uri.startswith(recorded))
        )

    day.publish_until(effect, after=after, strike=another_publishes)
    assert day.row().published_records == 300
    assert there, "the point was reached"
    assert day.parts() == there, "every published version is as it was, and nothing else is left"
    assert len({uri.rpartition("/")[0] for uri in there}) == versions
    day.check()
    assert day.due() == []


@pytest.mark.parametrize(
    ("effect", "after"),
    [("publications.record", True), ("objects.put", True), ("publications.record_latest", True)],
)
def test_a_publisher_that_dies_after_it_moved_the_pointer_is_finished_by_the_next(
    day: _Day, effect: str, after: bool
) -> None:
    def die() -> None:
        raise _Killed

    day.job("a")
    day.publish_until(effect, after=after, strike=die)
    before = day.parts()
    assert day.row().publication == 1
    assert day.due() == ([] if effect == "publications.record_latest" else [day.key])
    day.publish()
    assert day.parts() == before
    day.check()
    assert day.due() == []


def test_latest_json_that_was_lost_or_changed_is_written_again(day: _Day) -> None:
    day.job("a")
    day.publish()
    latest = f"{day.base}latest.json"
    day.deployment.objects.delete([latest])
    assert publish_dataset(day.deployment, day.pipeline, day.key).unchanged
    day.check()
    day.deployment.objects.put(latest, b"{}")
    assert publish_dataset(day.deployment, day.pipeline, day.key).unchanged
    day.check()


def test_a_version_that_cannot_be_completed_leaves_nothing(day: _Day) -> None:
    day.job("a")
    day.deployment.ledger.database.execute("ALTER TABLE bedrock_pipeline.chunks DISABLE TRIGGER USER")
    day.deployment.ledger.database.execute("UPDATE bedrock_pipeline.chunks SET answered = 99, retryable = 1")
    with pytest.raises(NotCompleteError, match="have 100 rows, but 99"):
        day.publish()
    assert (day.parts(), day.row().publication) == ({}, 0)


@pytest.mark.parametrize("asleep", [timedelta(minutes=1), timedelta(hours=5)])
def test_a_publisher_that_sleeps_before_its_put_and_dies_after_it_leaves_no_stale_latest_json(
    day: _Day, asleep: timedelta
) -> None:
    """Another publishes in between; runs that the sensor requests while it sleeps find nothing wrong."""
    day.job("a")
    uri = f"{day.base}latest.json"
    stale: list[bytes] = []

    def another_publishes() -> None:
        row = day.row()
        assert row.publication == 1
        day.job("b")
        day.publish()
        move_clock(day.deployment, asleep.total_seconds())
        for _ in day.due():
            day.publish()
        day.check()
        stale.append(_pointer(row))
        day.deployment.objects.put(uri, stale[0])  # the sleeper's, which arrives now
        raise _Killed

    day.publish_until("objects.put", after=False, strike=another_publishes)
    assert day.deployment.objects.get(uri) == stale[0], "the point was reached"
    assert day.row().latest_written_publication == day.row().publication == 2
    move_clock(day.deployment, 2 * asleep.total_seconds() + 120)
    assert day.due() == [day.key]
    day.publish()
    day.check()
    move_clock(day.deployment, timedelta(days=2).total_seconds())
    for _ in day.due():
        day.publish()
    move_clock(day.deployment, timedelta(days=9).total_seconds())
    assert day.due() == [], "it is given up"


def test_a_stale_latest_json_is_written_while_a_newer_version_is_not_complete(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, ["x"] * 120)
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    finish(deployment, one)
    first = publish_dataset(deployment, one, "d")
    deployment.ledger.datasets.request("p", "d", {}, launch=True, new_version=True)
    deployment.ledger.database.execute("UPDATE bedrock_pipeline.datasets SET latest_written_publication = 0")
    uri = deployment.settings.uri(deployment.settings.results_prefix, "p", "d", "latest.json")
    deployment.objects.put(uri, b"{}")
    again = publish_dataset(deployment, one, "d")
    assert (again.version, again.unchanged) == (first.version, True)
    assert json.loads(deployment.objects.get(uri))["version"] == first.version
    with pytest.raises(NotCompleteError):
        publish_dataset(deployment, one, "d")


def test_a_part_that_is_uploaded_in_several_pieces_is_copied(deployment: Deployment, tmp_path: Path) -> None:
    """The embedded S3 takes uploads in parts, but copies an object only as a whole."""
    settings, content = deployment.settings, b"0123456789abcdef" * 1_100_000
    source, target = (settings.uri("copied", name) for name in ("source", "target"))
    file = tmp_path / "part"
    file.write_bytes(content)
    deployment.objects.upload(file, source)
    deployment.objects.copy(source, target)
    assert deployment.objects.get(target) == content
