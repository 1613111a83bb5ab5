"""What can be wrong about a queue or a job.

What belongs here: the exceptions of `BedrockQueue`'s methods. Those about a task, a callback or a token bucket stand
beside them.
"""

from bedrock_pipeline.errors import BedrockPipelineError


class ClosedQueueError(BedrockPipelineError):
    """The queue is not open."""


class UnknownJobError(BedrockPipelineError):
    """No flush of this queue made such a job."""


class JobNotFinalError(BedrockPipelineError):
    """A job has records that are neither answered nor given up."""


class AwaitTimeoutError(JobNotFinalError, TimeoutError):
    """A job was not final in time; it goes on."""


class JobStuckError(JobNotFinalError):
    """A job goes on only when a person has done something about it."""
