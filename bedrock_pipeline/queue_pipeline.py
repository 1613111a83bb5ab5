"""What a user writes for a queue: a pipeline whose tasks bring their request bodies, and when they become jobs."""

from pydantic import BaseModel, ConfigDict, Field

from bedrock_pipeline.pipeline import BasePipeline, Pipeline


class FlushPolicy(BaseModel):
    """When the waiting tasks of a queue become jobs without a call of `flush`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    batch_size: int = Field(default=100, ge=1)
    """Flush when this many tasks wait."""
    max_bytes: int | None = Field(default=None, ge=1)
    """Flush when the waiting tasks have this many bytes; None: at no size."""
    max_age_s: float | None = Field(default=None, gt=0)
    """Flush when a task has waited this many seconds; None: at no age."""


class QueuePipeline(BasePipeline):
    """A queue: tasks bring their request bodies, and each flush adds chunks to the dataset of the day (UTC).

    `BedrockQueueConfig.pipeline()` makes one (docs/queue.md).

    Raises:
        ConfigurationError: names the pipeline and each field that is wrong.
    """

    flush_policy: FlushPolicy = FlushPolicy()
    """When waiting tasks become jobs without a call of `flush`."""

    @classmethod
    def _unknown_field(cls, field: str) -> str:
        if field in Pipeline.model_fields:
            return "a queue has no such field, since its tasks bring their request bodies, day after day"
        return super()._unknown_field(field)

    @property
    def tasks_to_flush(self) -> int:
        """How many tasks make a flush due: `batch_size`, and with `hold` at least as many as a job needs."""
        return max(self.flush_policy.batch_size, self.fewest_tasks)

    @property
    def fewest_tasks(self) -> int:
        """The fewest tasks that a flush turns into jobs; fewer are left in the queue."""
        return self.effective_limits.min_records if self.below_minimum == "hold" else 1
