"""No secret of a queue's settings is stored, shown or logged."""

import logging

import psycopg
import pytest
from psycopg import conninfo

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.database import DatabaseUnreachableError
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline_tests.queue.test_queue import config, task

_SECRET = "hidden-word"


def test_neither_in_repr_nor_in_an_error_nor_in_a_log(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    one = config(
        access_key_id=_SECRET, secret_access_key=_SECRET, db_password=_SECRET, db_host="127.0.0.1", db_port=1
    )
    assert one.db_password is not None
    assert one.db_password.get_secret_value() == _SECRET
    with caplog.at_level(logging.DEBUG), pytest.raises(DatabaseUnreachableError) as raised:
        BedrockQueue(one).initialize()
    for text in (
        repr(one),
        str(one),
        one.model_dump_json(),
        str(raised.value),
        repr(raised.value),
        caplog.text,
    ):
        assert _SECRET not in text
    assert _SECRET not in repr(one.settings())


def test_not_in_the_ledger(deployment: Deployment, postgres_dsn: str) -> None:
    settings = deployment.settings
    given = conninfo.conninfo_to_dict(postgres_dsn)
    password = str(given["password"])
    one = config(
        db_host=given["host"],
        db_port=int(given["port"] or 0),
        db_name=given["dbname"],
        db_user=given["user"],
        db_password=password,
        s3_input_bucket=settings.bucket,
        role_arn=settings.role_arn,
        region="us-east-1",
    )
    with BedrockQueue(one) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        queue.flush()
        queue._now_open.worker.step()
    with psycopg.connect(postgres_dsn) as connection:
        for table in ("queues", "queue_jobs", "chunks", "datasets", "events", "quota_groups"):
            rows = connection.execute(f"SELECT t::text FROM bedrock_pipeline.{table} t").fetchall()  # noqa: S608
            assert rows
            assert not any(password in row[0] for row in rows)
