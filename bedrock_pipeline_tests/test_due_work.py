"""What is due, over the real ledger: the same for Dagster's sensors, a queue's worker and the tests' loops."""

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WorkItem, due_work
from bedrock_pipeline.ledger.tasks import NewTask
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def test_work_is_due_by_kind_for_the_given_pipelines_alone(deployment: Deployment) -> None:
    ledger = deployment.ledger
    docs = Pipeline(name="docs", model_id=CLAUDE, prompt="{{ a }}")
    other = docs.model_copy(update={"name": "other"})
    full, empty = (QueuePipeline(name=name, model_id=CLAUDE) for name in ("full", "empty"))
    assert due_work(ledger, [docs, other, full, empty], limit=10) == []
    for pipeline in (docs, other):
        ledger.datasets.request(pipeline.name, "d", {}, launch=True)
    ledger.tasks.add("full", [NewTask(f"r{number}", b"{}\n") for number in range(100)], replace=False)
    today = ledger.queues.today()
    prepare, flush = WorkItem("prepare", "docs", "d"), WorkItem("flush", "full", today)
    assert due_work(ledger, [docs, full, empty], limit=10) == [prepare, flush]
    assert due_work(ledger, [docs, full], limit=10, kinds=("flush", "submit")) == [flush]
    assert len(due_work(ledger, [docs, other], limit=1)) == 1
