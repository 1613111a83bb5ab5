"""A process that is forked from one with an open queue: it cannot use its connections, and harms none of them."""

import json
import subprocess
import sys

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline_tests.queue.test_queue import config

# In a program of its own: a fork of pytest's process would copy the locks of its threads.
_PROGRAM = """
import json, multiprocessing, sys
from bedrock_pipeline import StateError
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig

config = BedrockQueueConfig.model_validate(json.loads(sys.argv[1]))

def task(number):
    content = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    return {
        "recordId": f"task-{number}",
        "modelInput": {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": content},
    }

unused = BedrockQueue(config)
queue = BedrockQueue(config)
queue.initialize()
queue.enqueue(task("before"))

def forked():
    try:
        queue.enqueue(task("lost"))
    except StateError as error:
        assert "forked" in error.what
    else:
        raise AssertionError("the parent's connection was used")
    with unused:  # what was not open before the fork is this process's own
        unused.enqueue(task("child"))
    queue.close()

child = multiprocessing.get_context("fork").Process(target=forked)
child.start()
child.join()
queue.enqueue(task("after"))
queue.close()
sys.exit(child.exitcode)
"""


def test_a_fork_rejects_the_queue_of_its_parent_whose_connections_go_on(deployment: Deployment) -> None:
    one = config(batch_size=1000)
    given = json.dumps(
        {name: getattr(one, name) for name in ("model_id", "name", "batch_size", "enable_auto_polling")}
    )
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, given], check=False, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    with BedrockQueue(one) as queue:
        assert queue.get_queue_size() == 3
    rows = deployment.ledger.database.fetch("SELECT record_id FROM bedrock_pipeline.tasks ORDER BY record_id")
    assert [row["record_id"] for row in rows] == ["task-after", "task-before", "task-child"]
