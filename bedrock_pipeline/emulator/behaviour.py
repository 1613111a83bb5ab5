"""Where the service's behaviour is not known, or differs from one account, model or date to another.

What belongs here: one switch for each such question, with the values that a client must be safe with. The first value
of each is the default.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, get_type_hints


class SameToken(StrEnum):
    """A clientRequestToken comes again with the same request."""

    #: the first job's ARN
    SAME_ARN = "same-arn"
    #: accepted, no new job, and no ARN in the response
    SILENT = "silent"


class OtherRequest(StrEnum):
    """A clientRequestToken comes again with another request."""

    CONFLICT = "conflict"
    #: as if it were the same request
    IGNORED = "ignored"


class JobNames(StrEnum):
    """A job name comes again, with another token."""

    #: rejected with a ConflictException
    CONFLICT = "conflict"
    #: a second job of the name
    REPEATABLE = "repeatable"
    #: rejected with a ValidationException, as other jobs of Bedrock are
    INVALID = "invalid"


class FirstCheck(StrEnum):
    """What Create looks at first, where both the token and the name are known."""

    TOKEN = "token"  # noqa: S105  # the name of a value
    NAME = "name"


class JobIds(StrEnum):
    """What names a job in Get and Stop."""

    #: its ARN alone
    ARN = "arn"
    #: its ARN, or the last 12 characters of it
    SHORT = "short"


class OverQuota(StrEnum):
    """More jobs at once than the quota."""

    REJECTED = "rejected"
    #: the job stays Submitted until the quota allows it
    QUEUED = "queued"


class UnknownModels(StrEnum):
    """A model id, or a geography of inference profiles, that is not in the catalog."""

    REJECTED = "rejected"
    #: taken as a model without limits where its family follows from the id
    FAMILY = "family"


class UnlistedBatch(StrEnum):
    """Batch inference of a model for which no source shows it."""

    REJECTED = "rejected"
    TAKEN = "taken"


class LegacyModels(StrEnum):
    """A model that its provider has marked as legacy."""

    TAKEN = "taken"
    #: as an account sees it that has not used the model for 30 days
    REJECTED = "rejected"


class ModelFeatures(StrEnum):
    """Structured output, thinking and images, asked of a model that does not have them."""

    #: what the catalog lists for the model; the rest is an error of the record
    LISTED = "listed"
    ANY = "any"


class BatchTools(StrEnum):
    """Tools and structured output in a job's records."""

    #: no tools in jobs of the type Converse, as today's documentation says
    INVOKE_MODEL = "invoke-model"
    ANY = "any"
    #: neither tools nor structured output, as the documentation said until 2026
    NONE = "none"


class ConverseNulls(StrEnum):
    """Members that are not set, in the output of jobs of the type Converse."""

    #: every member of a block and of the usage is there, as null
    WRITTEN = "written"
    OMITTED = "omitted"


class DuplicateIds(StrEnum):
    """A record id is in a job twice."""

    ANSWERED = "answered"
    REJECTED = "rejected"


class MissingIds(StrEnum):
    """A record has no id."""

    GENERATED = "generated"
    REJECTED = "rejected"


class OutputAppears(StrEnum):
    """When a file of output can be seen."""

    #: when its last record was processed
    AT_END = "at-end"
    #: while the job runs, with the lines that there are
    GROWING = "growing"


class StoppedOutput(StrEnum):
    """The output of a job that was stopped while it ran."""

    KEPT = "kept"
    DROPPED = "dropped"


@dataclass
class Behaviour:
    """A value for each open question; they can be changed while the emulator runs.

    Attributes:
        token_lifetime: seconds on the jobs' clock after which a token is forgotten, and makes a new job; None: never.
    """

    same_token: SameToken = SameToken.SAME_ARN
    other_request: OtherRequest = OtherRequest.CONFLICT
    job_names: JobNames = JobNames.CONFLICT
    first_check: FirstCheck = FirstCheck.TOKEN
    job_ids: JobIds = JobIds.ARN
    over_quota: OverQuota = OverQuota.REJECTED
    unknown_models: UnknownModels = UnknownModels.REJECTED
    unlisted_batch: UnlistedBatch = UnlistedBatch.REJECTED
    legacy_models: LegacyModels = LegacyModels.TAKEN
    model_features: ModelFeatures = ModelFeatures.LISTED
    batch_tools: BatchTools = BatchTools.INVOKE_MODEL
    converse_nulls: ConverseNulls = ConverseNulls.WRITTEN
    duplicate_ids: DuplicateIds = DuplicateIds.ANSWERED
    missing_ids: MissingIds = MissingIds.GENERATED
    output_appears: OutputAppears = OutputAppears.AT_END
    stopped_output: StoppedOutput = StoppedOutput.KEPT
    token_lifetime: float | None = None

    def change(self, given: Mapping[str, Any]) -> None:
        """Set switches by name; all of them or, where one is wrong, none.

        Raises:
            ValueError: a switch is unknown, or cannot have the value; says what there is.
        """
        hints = switches()
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name == "token_lifetime":
                if value is not None and type(value) not in (int, float):
                    raise ValueError("token_lifetime must be a number of seconds, or null")
                values[name] = value
            elif name not in hints:
                raise ValueError(f"{name!r} is no switch; known are {', '.join([*hints, 'token_lifetime'])}")
            elif not isinstance(value, str) or value not in list(hints[name]):
                raise ValueError(f"{name} must be one of {', '.join(hints[name])}")
            else:
                values[name] = hints[name](value)
        for name, value in values.items():
            setattr(self, name, value)

    def shown(self) -> dict[str, Any]:
        """Every switch by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def switches() -> dict[str, type[StrEnum]]:
    """The switches that have a few values, by name."""
    return {
        name: hint
        for name, hint in get_type_hints(Behaviour).items()
        if not isinstance(hint, types.UnionType)
    }


@dataclass
class Quota:
    """Jobs at once, per model; it can be changed while the emulator runs.

    Attributes:
        max_jobs: None for the model's own.
    """

    max_jobs: int | None = None
