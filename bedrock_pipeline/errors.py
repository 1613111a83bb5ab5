"""The exceptions that this package raises on purpose.

Each states what happened and what to do. Callers catch the classes of this file; the package that raises an error may
derive a class of its own, where somebody catches exactly that one.

    BedrockPipelineError
    ├── ConfigurationError       settings, a pipeline or a queue are incomplete or contradict each other
    ├── InvalidInputError        rows, a task, a prompt or a key cannot be used as they are
    │   └── ArgumentError            what is wrong was typed, not read; the exit code is that of a wrong option
    ├── NotFoundError            no such pipeline, dataset, chunk, queue or job
    ├── StateError               not possible in the present state, for example not published yet
    │   └── JobNotFinalError     a job still has records without a final outcome
    │       ├── AwaitTimeoutError    it was not final in time (also a TimeoutError); it continues
    │       └── JobStuckError        it continues only after an operator's decision
    ├── JobFailedError           a job failed, expired, was stopped or was rejected by Bedrock
    └── ServiceUnavailableError  Postgres or AWS did not do what was requested; often passes

The emulator has its own exceptions, since it imports nothing of this package.
"""


class BedrockPipelineError(Exception):
    """The base of all exceptions of this package.

    Args:
        what: what happened, in one sentence; a full stop is added or taken off at its end. Never contains a prompt, a response or
            a secret.
        fix: what to do about it, in one sentence; empty if there is nothing to do.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        what = _sentence(what, followed=bool(fix))
        super().__init__(f"{what} {fix}".strip())
        self.what = what
        self.fix = fix


def is_of_called_code(error: BaseException) -> bool:
    """Whether an error is one of the code that was called, such as a panic of a library, and not a request to end."""
    # A panic of Rust is a BaseException.
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _sentence(text: str, *, followed: bool) -> str:
    """A sentence that may end with the reason of another service, which has a full stop of its own or none."""
    if text.endswith("..") and not text.endswith("..."):
        return text[:-1]
    return f"{text}." if followed and text[-1:].isalnum() else text


class ConfigurationError(BedrockPipelineError):
    """Settings, a pipeline or a queue are incomplete or contradict each other."""


class InvalidInputError(BedrockPipelineError):
    """Rows, a task, a prompt, a key or a file cannot be used as they are."""


class ArgumentError(InvalidInputError):
    """A key, a template, a condition or the name of a file or a kind is none that can be meant, whatever the data."""


class NotFoundError(BedrockPipelineError):
    """There is no such pipeline, dataset, chunk, queue or job."""


class StateError(BedrockPipelineError):
    """The operation is not possible in the present state, or not yet."""


class JobNotFinalError(StateError):
    """A job has records with neither a response nor a final error."""


class AwaitTimeoutError(JobNotFinalError, TimeoutError):
    """A job was not final in time. It continues."""


class JobStuckError(JobNotFinalError):
    """A job continues only after an operator's decision."""


class JobFailedError(BedrockPipelineError):
    """A job failed, expired, was stopped, or was rejected by Bedrock."""


class ServiceUnavailableError(BedrockPipelineError):
    """Postgres or AWS did not do what was requested. Often passes by itself."""
