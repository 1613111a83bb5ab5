"""What a process of the fault trials needs, loaded once in the server that it is forked from.

What belongs here: imports, and AWS's service models, which take half a second of a core to read. Nothing that leaves
a thread or a connection behind.
"""

import genai_prices  # noqa: F401
import hypothesis.stateful  # noqa: F401
import pytest  # noqa: F401

import bedrock_pipeline_tests.faults.deployment  # noqa: F401
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.settings import Settings

_NOWHERE = "http://127.0.0.1:1"


def read_service_models() -> None:
    """Make each client once: the models that it reads stay in memory."""
    settings = Settings.model_validate(
        {
            "bucket": "none",
            "role_arn": "arn:aws:iam::123456789012:role/none",
            "access_key_id": "none",
            "secret_access_key": "none",
            "s3_endpoint_url": _NOWHERE,
            "bedrock_endpoint_url": _NOWHERE,
            "bedrock_runtime_endpoint_url": _NOWHERE,
            "ignore_aws_configuration": True,
        }
    )
    with open_deployment(settings):
        pass


read_service_models()
