"""What turns a run red.

What belongs here: our errors as Dagster's.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.database import DatabaseUnreachableError

#: Errors that pass by themselves: what was wished for stays, and is offered again.
PASSING = (AwsError, DatabaseUnreachableError)


@contextmanager
def red() -> Iterator[None]:
    """Our errors as Dagster's, whose description is what the UI shows first."""
    try:
        yield
    except BedrockPipelineError as error:
        raise dg.Failure(
            f"{error.what} {error.fix}".strip(), allow_retries=isinstance(error, PASSING)
        ) from error
