"""Batch LLM inference on AWS Bedrock, orchestrated by Dagster.

What belongs here: the version and the public interface. `import bedrock_pipeline` alone imports nothing else: a name is
imported at its first use (PEP 562), since Dagster, Arrow and boto3 take seconds. Each package says in its own
docstring what it holds; `docs/architecture.md` shows how they fit together.
"""

from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bedrock_pipeline.aws.errors import AwsError
    from bedrock_pipeline.datasets import launch, results, status, wait
    from bedrock_pipeline.errors import (
        AwaitTimeoutError,
        BedrockPipelineError,
        ConfigurationError,
        InvalidInputError,
        JobFailedError,
        JobNotFinalError,
        JobStuckError,
        NotFoundError,
        ServiceUnavailableError,
        StateError,
    )
    from bedrock_pipeline.job_options import JobOptions
    from bedrock_pipeline.ledger.database import DatabaseUnreachableError
    from bedrock_pipeline.ledger.queues import NameTakenError, QueueModelError
    from bedrock_pipeline.ledger.status_report import ChunkStatus, DatasetStatus
    from bedrock_pipeline.ledger.tasks import DuplicateTaskError
    from bedrock_pipeline.models.answer_class import AnswerSchemaError
    from bedrock_pipeline.orchestration.build import build_definitions
    from bedrock_pipeline.orchestration.component import BedrockBatchComponent, BedrockQueueComponent
    from bedrock_pipeline.orchestration.daily import DailySchedule
    from bedrock_pipeline.orchestration.io_managers import PublishedResults
    from bedrock_pipeline.orchestration.options import AssetStep, DagsterOptions
    from bedrock_pipeline.orchestration.resources import DeploymentResource
    from bedrock_pipeline.orchestration.thresholds import Thresholds
    from bedrock_pipeline.pipeline import Pipeline
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
    from bedrock_pipeline.queue.events import CallbackError, QueueEvent
    from bedrock_pipeline.queue.task import InvalidTaskError
    from bedrock_pipeline.queue.token_bucket import TokenBucketStoppedError
    from bedrock_pipeline.queue_pipeline import FlushPolicy, QueuePipeline
    from bedrock_pipeline.records.limits import Limits
    from bedrock_pipeline.settings import (
        InvalidSettingError,
        NotConfiguredError,
        PriceOverride,
        Settings,
    )
    from bedrock_pipeline.sources import (
        ArrowSource,
        CsvFormat,
        DeltaTable,
        IcebergTable,
        InputError,
        Source,
        SqlQuery,
        UpstreamAsset,
    )
    from bedrock_pipeline.throttle_backoff import ThrottleBackoff

__version__ = "0.1.0"

# Type checkers read `__all__` and the imports above, the interpreter the table below; a test compares them.
__all__ = [
    "AnswerSchemaError",
    "ArrowSource",
    "AssetStep",
    "AsyncBedrockQueue",
    "AwaitTimeoutError",
    "AwsError",
    "BedrockBatchComponent",
    "BedrockPipelineError",
    "BedrockQueue",
    "BedrockQueueComponent",
    "BedrockQueueConfig",
    "BedrockTask",
    "BelowMinimumError",
    "CallbackError",
    "ChunkStatus",
    "ConfigurationError",
    "CsvFormat",
    "DagsterOptions",
    "DailySchedule",
    "DatabaseUnreachableError",
    "DatasetStatus",
    "DeltaTable",
    "DeploymentResource",
    "DuplicateTaskError",
    "FlushPolicy",
    "IcebergTable",
    "InputError",
    "InvalidInputError",
    "InvalidSettingError",
    "InvalidTaskError",
    "JobFailedError",
    "JobNotFinalError",
    "JobOptions",
    "JobResult",
    "JobStuckError",
    "Limits",
    "NameTakenError",
    "NotConfiguredError",
    "NotFoundError",
    "Pipeline",
    "PriceOverride",
    "PublishedResults",
    "QueueEvent",
    "QueueModelError",
    "QueuePipeline",
    "ServiceUnavailableError",
    "Settings",
    "Source",
    "SqlQuery",
    "StateError",
    "TaskError",
    "TaskResult",
    "TaskResults",
    "Thresholds",
    "ThrottleBackoff",
    "TokenBucket",
    "TokenBucketStoppedError",
    "UpstreamAsset",
    "build_definitions",
    "launch",
    "results",
    "status",
    "wait",
]

#: Where each name is defined.
_MODULES: Final = {
    "AnswerSchemaError": "bedrock_pipeline.models.answer_class",
    "ArrowSource": "bedrock_pipeline.sources",
    "AssetStep": "bedrock_pipeline.orchestration.options",
    "AsyncBedrockQueue": "bedrock_pipeline.queue",
    "AwaitTimeoutError": "bedrock_pipeline.errors",
    "AwsError": "bedrock_pipeline.aws.errors",
    "BedrockBatchComponent": "bedrock_pipeline.orchestration.component",
    "BedrockPipelineError": "bedrock_pipeline.errors",
    "BedrockQueue": "bedrock_pipeline.queue",
    "BedrockQueueComponent": "bedrock_pipeline.orchestration.component",
    "BedrockQueueConfig": "bedrock_pipeline.queue",
    "BedrockTask": "bedrock_pipeline.queue",
    "BelowMinimumError": "bedrock_pipeline.prepare.chunks.packer",
    "CallbackError": "bedrock_pipeline.queue.events",
    "ChunkStatus": "bedrock_pipeline.ledger.status_report",
    "ConfigurationError": "bedrock_pipeline.errors",
    "CsvFormat": "bedrock_pipeline.sources",
    "DagsterOptions": "bedrock_pipeline.orchestration.options",
    "DailySchedule": "bedrock_pipeline.orchestration.daily",
    "DatabaseUnreachableError": "bedrock_pipeline.ledger.database",
    "DatasetStatus": "bedrock_pipeline.ledger.status_report",
    "DeltaTable": "bedrock_pipeline.sources",
    "DeploymentResource": "bedrock_pipeline.orchestration.resources",
    "DuplicateTaskError": "bedrock_pipeline.ledger.tasks",
    "FlushPolicy": "bedrock_pipeline.queue_pipeline",
    "IcebergTable": "bedrock_pipeline.sources",
    "InputError": "bedrock_pipeline.sources",
    "InvalidInputError": "bedrock_pipeline.errors",
    "InvalidSettingError": "bedrock_pipeline.settings",
    "InvalidTaskError": "bedrock_pipeline.queue.task",
    "JobFailedError": "bedrock_pipeline.errors",
    "JobNotFinalError": "bedrock_pipeline.errors",
    "JobResult": "bedrock_pipeline.queue",
    "JobStuckError": "bedrock_pipeline.errors",
    "JobOptions": "bedrock_pipeline.job_options",
    "Limits": "bedrock_pipeline.records.limits",
    "NameTakenError": "bedrock_pipeline.ledger.queues",
    "NotConfiguredError": "bedrock_pipeline.settings",
    "NotFoundError": "bedrock_pipeline.errors",
    "Pipeline": "bedrock_pipeline.pipeline",
    "PriceOverride": "bedrock_pipeline.settings",
    "PublishedResults": "bedrock_pipeline.orchestration.io_managers",
    "QueueEvent": "bedrock_pipeline.queue.events",
    "QueueModelError": "bedrock_pipeline.ledger.queues",
    "QueuePipeline": "bedrock_pipeline.queue_pipeline",
    "ServiceUnavailableError": "bedrock_pipeline.errors",
    "Settings": "bedrock_pipeline.settings",
    "Source": "bedrock_pipeline.sources",
    "SqlQuery": "bedrock_pipeline.sources",
    "StateError": "bedrock_pipeline.errors",
    "TaskError": "bedrock_pipeline.queue",
    "TaskResult": "bedrock_pipeline.queue",
    "TaskResults": "bedrock_pipeline.queue",
    "Thresholds": "bedrock_pipeline.orchestration.thresholds",
    "ThrottleBackoff": "bedrock_pipeline.throttle_backoff",
    "TokenBucket": "bedrock_pipeline.queue",
    "TokenBucketStoppedError": "bedrock_pipeline.queue.token_bucket",
    "UpstreamAsset": "bedrock_pipeline.sources",
    "build_definitions": "bedrock_pipeline.orchestration.build",
    "launch": "bedrock_pipeline.datasets",
    "results": "bedrock_pipeline.datasets",
    "status": "bedrock_pipeline.datasets",
    "wait": "bedrock_pipeline.datasets",
}

_IMPORTING: Final = RLock()

if not TYPE_CHECKING:  # a type checker would take any name for one that exists

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use.

        Raises:
            AttributeError: the package has no such name.
        """
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        with (
            _IMPORTING
        ):  # two threads that import packages which import each other would wait for one another
            value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    """The public interface, also what has not been imported yet."""
    return sorted({*globals(), *__all__})
