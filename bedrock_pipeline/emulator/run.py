"""A job in progress.

What belongs here: answering a job's records at its pace, a few at a time, and writing its output at the end. Which
status follows is `runner.py`'s.
"""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bedrock_pipeline.emulator.behaviour import Behaviour, OutputAppears
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.faults import Faults, Kind
from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.emulator.objects import ObjectStore
from bedrock_pipeline.emulator.output import Output, OutputFile
from bedrock_pipeline.emulator.roles import Role
from bedrock_pipeline.emulator.store import Job
from bedrock_pipeline.emulator.work import Answers, Counts, Input

#: A job at its pace is looked at so often, so that many slow jobs cost little.
_STEPS = 200


@dataclass(frozen=True)
class End:
    """How a job ends.

    Attributes:
        keeps_output: whether the output so far is written.
    """

    status: str
    message: str | None
    keeps_output: bool


_NOT_ALLOWED = End("Failed", "Customer doesn't have permissions to invokeModel", keeps_output=False)


class Run:
    """One job's records; each `advance` goes on where the one before stopped.

    Args:
        job: the job as it entered InProgress; its records take `duration` from its `statusTime` on.
        duration: how long the job takes, on the jobs' clock.
        role: what the job may do.
        may_invoke: whether the role may invoke the model; where not, that is found out at the end.
    """

    def __init__(
        self,
        job: Job,
        objects: ObjectStore,
        models: Models,
        faults: Faults,
        clock: Clock,
        behaviour: Behaviour,
        duration: timedelta,
        role: Role,
        *,
        may_invoke: bool,
    ) -> None:
        self._name, self._files, self._clock, self._faults = job["jobName"], job["files"], clock, faults
        self._began, self._duration = datetime.fromisoformat(job["statusTime"]), duration
        self.counts = Counts(total=job["records"])
        of_job = faults.of_job(job["jobName"])
        self._input, self._output = Input(objects, job, role), Output(objects, job, of_job)
        self._answers = Answers(job, models, of_job, self.counts, behaviour)
        self._grows = behaviour.output_appears is OutputAppears.GROWING
        self._may_invoke = may_invoke
        self._file: OutputFile | None = None
        self._records = self._answered()
        self._due = self._began
        fault = faults.standing(Kind.JOB_ENDS, job["jobName"])
        self._ends_at = round(fault.at * self.counts.total) if fault else None

    @property
    def is_due(self) -> bool:
        """Whether its next record is."""
        return self._clock.now() >= self._due

    def advance(self, most: int) -> End | None:
        """Answer the records that are due, `most` at most; how the job ends, once it does."""
        if not self._may_invoke:
            self._due = self._began + self._duration
            return _NOT_ALLOWED if self.is_due else None
        before = self.counts.processed
        end = self._advance(most)
        if self._grows and self._file and self.counts.processed > before and not end:
            self._file.show()
        return end

    def _advance(self, most: int) -> End | None:
        for _ in range(most):
            if end := self._fault():
                return end
            due = self._began + self._duration * (self.counts.processed / max(self.counts.total, 1))
            if (now := self._clock.now()) < due:
                self._due = max(due, min(now + self._duration / _STEPS, self._began + self._duration))
                return None
            if next(self._records, None) is None:
                return End("Completed", None, keeps_output=True)
        return None

    def finish(self, end: End) -> None:
        """Write the output, or drop it."""
        self._records.close()
        if self._file and end.keeps_output:
            self._file.finish()
        elif self._file:
            self._file.discard()
        self._file = None
        if end.keeps_output:
            self._output.write_manifest(self.counts)

    def _fault(self) -> End | None:
        if self.counts.processed != self._ends_at:
            return None
        struck = self._faults.strike(Kind.JOB_ENDS, job_name=self._name)
        if struck is None:
            return None
        return End(struck.status, struck.message, keeps_output=struck.status != "Expired")

    def _answered(self) -> Generator[str, None, None]:
        """The ids of the records, each in its file of output by then; the last file is left open."""
        for key in self._files:
            if self._file:
                self._file.finish()
            self._file = self._output.file(key)
            for line in self._input.lines(key):
                record_id, answer = self._answers.line(line)
                self._file.add(record_id, answer)
                yield record_id
