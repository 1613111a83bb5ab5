"""Limits on a batch job.

Source: "Quotas for Amazon Bedrock", batch inference; they are per model and region, most of them adjustable, so every
pipeline can set its own.
"""

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """What one job may hold, and how many jobs a pipeline may have at once.

    Attributes:
        min_records: fewest records of a job.
        max_records: most records of a job.
        max_file_records: most records of one input file.
        max_file_bytes: most bytes of one input file; Bedrock says 1 GB, taken as 10⁹, the smaller reading.
        max_job_bytes: most bytes of all files of a job.
        max_jobs: jobs of the pipeline at once, within the limit of its quota group; None: that limit alone.

    Raises:
        pydantic.ValidationError: a limit is below 1, or the limits contradict each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_records: int = Field(default=100, ge=1)
    max_records: int = Field(default=50_000, ge=1)
    max_file_records: int = Field(default=50_000, ge=1)
    max_file_bytes: int = Field(default=1_000_000_000, ge=1)
    max_job_bytes: int = Field(default=5_000_000_000, ge=1)
    max_jobs: int | None = Field(default=None, ge=1)

    @property
    def max_record_bytes(self) -> int:
        """Most bytes of one record, which must fit a file and a job."""
        return min(self.max_file_bytes, self.max_job_bytes)

    def model_post_init(self, _: object) -> None:
        """Reject limits that contradict each other."""
        if self.max_records < 2 * self.min_records - 1:
            raise ValueError(
                "max_records must be at least twice min_records, less one, so that every tail can be balanced"
            )
