"""Batch LLM inference on AWS Bedrock, orchestrated by Dagster.

What belongs here: the version and the public interface. `import bedrock_pipeline` alone imports nothing else: a name is
imported when it is first asked for (PEP 562), since Dagster, Arrow and boto3 take seconds. Each package says in its own
docstring what it holds; `docs/architecture.md` shows how they fit together.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bedrock_pipeline.aws.errors import AwsError
    from bedrock_pipeline.errors import BedrockPipelineError
    from bedrock_pipeline.ledger.database import DatabaseUnreachableError
    from bedrock_pipeline.ledger.queues import QueueModelError
    from bedrock_pipeline.ledger.tasks import DuplicateTaskError
    from bedrock_pipeline.models.structured import AnswerSchemaError
    from bedrock_pipeline.orchestration.build import build_definitions
    from bedrock_pipeline.orchestration.io_managers import PublishedResults
    from bedrock_pipeline.orchestration.resources import DeploymentResource
    from bedrock_pipeline.pipeline import DatasetRequestError, FlushPolicy, Pipeline
    from bedrock_pipeline.prepare.chunks.packer import BelowMinimumError
    from bedrock_pipeline.queue import (
        AsyncBedrockQueue,
        BedrockQueue,
        BedrockQueueConfig,
        BedrockTask,
        JobResult,
        TaskError,
        TaskResult,
        TaskResults,
        TokenBucket,
    )
    from bedrock_pipeline.queue.errors import (
        AwaitTimeoutError,
        ClosedQueueError,
        JobNotFinalError,
        JobStuckError,
        UnknownJobError,
    )
    from bedrock_pipeline.queue.events import CallbackError, JobFailedError, QueueEvent, UnknownEventError
    from bedrock_pipeline.queue.task import InvalidTaskError
    from bedrock_pipeline.queue.token_bucket import TokenBucketStoppedError
    from bedrock_pipeline.records.limits import Limits
    from bedrock_pipeline.settings import (
        InvalidSettingError,
        NotConfiguredError,
        PriceOverride,
        Settings,
        ThrottleBackoff,
    )
    from bedrock_pipeline.sources import ArrowSource, InputError, Source

__version__ = "0.1.0"

# Type checkers read `__all__` and the imports above, the interpreter the table below; a test compares them.
__all__ = [
    "AnswerSchemaError",
    "ArrowSource",
    "AsyncBedrockQueue",
    "AwaitTimeoutError",
    "AwsError",
    "BedrockPipelineError",
    "BedrockQueue",
    "BedrockQueueConfig",
    "BedrockTask",
    "BelowMinimumError",
    "CallbackError",
    "ClosedQueueError",
    "DatabaseUnreachableError",
    "DatasetRequestError",
    "DeploymentResource",
    "DuplicateTaskError",
    "FlushPolicy",
    "InputError",
    "InvalidSettingError",
    "InvalidTaskError",
    "JobFailedError",
    "JobNotFinalError",
    "JobResult",
    "JobStuckError",
    "Limits",
    "NotConfiguredError",
    "Pipeline",
    "PriceOverride",
    "PublishedResults",
    "QueueEvent",
    "QueueModelError",
    "Settings",
    "Source",
    "TaskError",
    "TaskResult",
    "TaskResults",
    "ThrottleBackoff",
    "TokenBucket",
    "TokenBucketStoppedError",
    "UnknownEventError",
    "UnknownJobError",
    "build_definitions",
]

#: Where each name is defined.
_MODULES: Final = {
    "AnswerSchemaError": "bedrock_pipeline.models.structured",
    "ArrowSource": "bedrock_pipeline.sources",
    "AsyncBedrockQueue": "bedrock_pipeline.queue",
    "AwaitTimeoutError": "bedrock_pipeline.queue.errors",
    "AwsError": "bedrock_pipeline.aws.errors",
    "BedrockPipelineError": "bedrock_pipeline.errors",
    "BedrockQueue": "bedrock_pipeline.queue",
    "BedrockQueueConfig": "bedrock_pipeline.queue",
    "BedrockTask": "bedrock_pipeline.queue",
    "BelowMinimumError": "bedrock_pipeline.prepare.chunks.packer",
    "CallbackError": "bedrock_pipeline.queue.events",
    "ClosedQueueError": "bedrock_pipeline.queue.errors",
    "DatabaseUnreachableError": "bedrock_pipeline.ledger.database",
    "DatasetRequestError": "bedrock_pipeline.pipeline",
    "DeploymentResource": "bedrock_pipeline.orchestration.resources",
    "DuplicateTaskError": "bedrock_pipeline.ledger.tasks",
    "FlushPolicy": "bedrock_pipeline.pipeline",
    "InputError": "bedrock_pipeline.sources",
    "InvalidSettingError": "bedrock_pipeline.settings",
    "InvalidTaskError": "bedrock_pipeline.queue.task",
    "JobFailedError": "bedrock_pipeline.queue.events",
    "JobNotFinalError": "bedrock_pipeline.queue.errors",
    "JobResult": "bedrock_pipeline.queue",
    "JobStuckError": "bedrock_pipeline.queue.errors",
    "Limits": "bedrock_pipeline.records.limits",
    "NotConfiguredError": "bedrock_pipeline.settings",
    "Pipeline": "bedrock_pipeline.pipeline",
    "PriceOverride": "bedrock_pipeline.settings",
    "PublishedResults": "bedrock_pipeline.orchestration.io_managers",
    "QueueEvent": "bedrock_pipeline.queue.events",
    "QueueModelError": "bedrock_pipeline.ledger.queues",
    "Settings": "bedrock_pipeline.settings",
    "Source": "bedrock_pipeline.sources",
    "TaskError": "bedrock_pipeline.queue",
    "TaskResult": "bedrock_pipeline.queue",
    "TaskResults": "bedrock_pipeline.queue",
    "ThrottleBackoff": "bedrock_pipeline.settings",
    "TokenBucket": "bedrock_pipeline.queue",
    "TokenBucketStoppedError": "bedrock_pipeline.queue.token_bucket",
    "UnknownEventError": "bedrock_pipeline.queue.events",
    "UnknownJobError": "bedrock_pipeline.queue.errors",
    "build_definitions": "bedrock_pipeline.orchestration.build",
}

if not TYPE_CHECKING:  # a type checker would take any name for one that exists

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use.

        Raises:
            AttributeError: the package has no such name.
        """
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    """The public interface, also what has not been imported yet."""
    return sorted({*globals(), *__all__})
