"""Which errors say that an object is not what was written."""

import errno

import pyarrow as pa
import pytest

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.parquet_objects import ObjectDamagedError, reading


@pytest.mark.parametrize(
    "error", [pa.ArrowInvalid("no magic bytes"), pa.ArrowNotImplementedError("codec"), OSError("cut off")]
)
def test_what_arrow_says_of_bytes_names_the_object(error: Exception) -> None:
    with pytest.raises(ObjectDamagedError, match="s3://b/k cannot be read"), reading("s3://b/k"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        pa.ArrowCancelled("Ctrl-C"),
        pa.ArrowMemoryError("no memory"),
        OSError(errno.ENOSPC, "disk full"),
        AwsError("Could not read it."),
    ],
)
def test_what_concerns_this_machine_or_aws_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, reading("s3://b/k"):
        raise error
    assert raised.value is error
