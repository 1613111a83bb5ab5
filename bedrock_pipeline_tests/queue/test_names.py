"""A name is either a pipeline's or a queue's: neither takes over the datasets of the other."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger import datasets, queues
from bedrock_pipeline.ledger.datasets import QueueDayError
from bedrock_pipeline.ledger.queues import NameTakenError
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig
from bedrock_pipeline_tests.journey.driven import pipeline
from bedrock_pipeline_tests.queue.test_queue import config, task

_STEPS = ("requested", "began", "snapshotted", "packed")


def _made(deployment: Deployment, folder: Path, state: str) -> DatasetRow:
    """A dataset of pipeline `p` under today's key."""
    day, one = deployment.ledger.queues.today(), pipeline(folder, [f"t{n}" for n in range(100)])
    reached = _STEPS[: _STEPS.index(state) + 1]
    if state == "requested":
        deployment.ledger.datasets.request("p", day, {}, launch=True)
    if "began" in reached:
        deployment.ledger.datasets.begin_preparation("p", day)
    if "snapshotted" in reached:
        take_snapshot(deployment, one, day)
    if "packed" in reached:
        pack_dataset(deployment, one, day)
    return deployment.ledger.datasets.ensure("p", day)


@pytest.mark.parametrize("state", _STEPS)
def test_a_queue_is_not_opened_under_the_name_of_a_pipeline(
    deployment: Deployment, tmp_path: Path, state: str
) -> None:
    made = _made(deployment, tmp_path, state)
    with pytest.raises(NameTakenError, match="another name"):
        BedrockQueue(config(name="p")).initialize()
    assert deployment.ledger.queues.get("p") is None
    assert deployment.ledger.datasets.get("p", made.dataset) == made


@pytest.mark.parametrize("state", _STEPS[1:])
def test_a_flush_does_not_take_over_a_dataset_that_a_pipeline_began_meanwhile(
    deployment: Deployment, tmp_path: Path, state: str
) -> None:
    with BedrockQueue(config(name="p", batch_size=1000)) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        made = _made(deployment, tmp_path, state)
        with pytest.raises(NameTakenError, match="another name"):
            queue.flush()
        assert queue.get_queue_size() == 100
    assert deployment.ledger.datasets.get("p", made.dataset) == made


def test_a_day_that_was_only_looked_at_is_the_queues(deployment: Deployment) -> None:
    deployment.ledger.datasets.ensure("p", deployment.ledger.queues.today())
    with BedrockQueue(config(name="p", batch_size=1000)) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        assert len(queue.flush()) == 1
    assert deployment.ledger.datasets.ensure("p", deployment.ledger.queues.today()).open


@pytest.mark.parametrize("first", ["launch", "queue"])
def test_of_a_launch_and_a_queue_that_take_a_name_at_once_the_second_is_rejected(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """The second comes when the first has looked, and has written nothing yet."""
    errors: list[BedrockPipelineError] = []

    def launch() -> None:
        deployment.ledger.datasets.request("p", "d", {}, launch=True)

    def register() -> None:
        deployment.ledger.queues.register("p", job_type="p", model_id="m", settings={})

    def rejected() -> None:
        try:
            (register if first == "launch" else launch)()
        except BedrockPipelineError as error:
            errors.append(error)

    second = threading.Thread(target=rejected)
    module: Any = datasets if first == "launch" else queues
    name = "_must_not_be_a_queue" if first == "launch" else "_must_not_be_a_pipeline"
    look: Callable[..., None] = getattr(module, name)

    def looking(*arguments: Any) -> None:
        look(*arguments)
        if threading.current_thread() is not second:
            second.start()
            second.join(0.5)  # it is not done before the first

    monkeypatch.setattr(module, name, looking)
    (launch if first == "launch" else register)()
    second.join()
    assert [type(error) for error in errors] == [NameTakenError if first == "launch" else QueueDayError]


def test_job_types_that_differ_name_queues_that_differ() -> None:
    """But for capitals and what separates words, as the page says."""
    types = [
        "sum mary",
        "日本",
        "本日",
        "---",
        "a" * 38,
        "a" * 39,
        "a" * 40,
        "a" * 200,
        "a.b",
        "a/b",
        "ab!",
        "ab",
    ]
    names = [BedrockQueueConfig(model_id="a.b", job_type=one).queue_name for one in types]
    assert len(set(names)) == len(types)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) for name in names)
    assert (
        BedrockQueueConfig(model_id="a.b", job_type="retrieval-summary").queue_name == "q_retrieval_summary"
    )
    assert BedrockQueueConfig(model_id="a.b", job_type="Sum_Mary").queue_name == names[0]
