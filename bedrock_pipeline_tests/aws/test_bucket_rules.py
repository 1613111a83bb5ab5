"""Every call of S3 says who must own the bucket, and every upload which key encrypts it, in parts and copies too."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.model import OperationModel
from botocore.session import Session
from moto import mock_aws

from bedrock_pipeline.aws.bucket_rules import BucketRules, with_bucket_rules
from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.objects import S3Objects, split_uri
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.sources import open_location

ACCOUNT, OTHER = "123456789012", "210987654321"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/batch"
PART = 16 * 2**20


@dataclass
class Called:
    """A client of S3 and what its calls sent."""

    client: Any
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def note(self, params: dict[str, Any], model: OperationModel, **_: object) -> None:
        self.calls.append((model.name, dict(params)))

    def sent(self) -> list[tuple[str, dict[str, Any]]]:
        calls, self.calls = self.calls, []
        return calls


def _settings(**given: Any) -> Settings:
    return Settings.resolve(
        {
            "bucket": "inputs",
            "output_bucket": "outputs",
            "role_arn": ROLE,
            "access_key_id": "AKIA",
            "secret_access_key": "s",
            **given,
        },
        {},
    )


@pytest.fixture
def s3() -> Iterator[Callable[..., Called]]:
    with mock_aws():

        def opened(**given: Any) -> Called:
            called = Called(s3_client(_settings(**given)))
            for bucket in ("inputs", "outputs", "theirs"):
                boto3.client(
                    "s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
                ).create_bucket(Bucket=bucket)
            called.client.meta.events.register("before-parameter-build.s3", called.note)
            return called

        yield opened


def _everything(objects: S3Objects, folder: Path) -> None:
    """Every call that the package makes of S3, on two buckets of the deployment's and one of somebody else's."""
    small, large = folder / "small", folder / "large"
    small.write_bytes(b"small")
    large.write_bytes(bytes(PART + 1))
    objects.upload(small, "s3://inputs/small")
    objects.upload(large, "s3://inputs/large")
    objects.put("s3://outputs/put", b"put")
    objects.copy("s3://inputs/small", "s3://outputs/copied")
    objects.put("s3://theirs/put", b"theirs")
    objects.get("s3://inputs/small")
    objects.get_at_most("s3://inputs/small", 9)
    objects.download("s3://inputs/large", folder / "again")
    assert (folder / "again").stat().st_size == PART + 1
    with objects.random_access("s3://inputs/small") as stream:
        assert stream.read() == b"small"
    assert [one.uri for one in objects.list("s3://outputs/")] == ["s3://outputs/copied", "s3://outputs/put"]
    objects.delete(["s3://outputs/put"])


def test_every_call_has_the_owner_and_every_upload_the_key(s3: Callable[..., Called], tmp_path: Path) -> None:
    called = s3(bucket_owner=ACCOUNT, output_bucket_owner=ACCOUNT, kms_key_id=KEY)
    _everything(S3Objects(called.client), tmp_path)
    calls = called.sent()
    assert {name for name, _ in calls} == {
        *("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject"),
        *("HeadObject", "GetObject", "ListObjectsV2", "DeleteObject"),
    }
    for name, sent in calls:
        expected = None if sent["Bucket"] == "theirs" else ACCOUNT
        assert sent.get("ExpectedBucketOwner") == expected, name
        encrypted = name in ("PutObject", "CreateMultipartUpload", "CopyObject")
        key = {
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": KEY,
            "BucketKeyEnabled": True,
        }
        assert {member: sent.get(member) for member in key} == (key if encrypted else dict.fromkeys(key)), (
            name
        )
    assert [sent["ExpectedSourceBucketOwner"] for name, sent in calls if name == "CopyObject"] == [ACCOUNT]
    for place in ("s3://inputs/small", "s3://inputs/large", "s3://outputs/copied", "s3://theirs/put"):
        bucket, key_ = split_uri(place)
        found = called.client.head_object(Bucket=bucket, Key=key_)
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", KEY), place


def test_nothing_is_added_without_settings(s3: Callable[..., Called], tmp_path: Path) -> None:
    called = s3()
    _everything(S3Objects(called.client), tmp_path)
    added = {"ExpectedBucketOwner", "ExpectedSourceBucketOwner", "ServerSideEncryption", "SSEKMSKeyId"}
    assert not [name for name, sent in called.sent() if added & sent.keys()]


def test_what_a_call_says_itself_is_kept(s3: Callable[..., Called]) -> None:
    called = s3(bucket_owner=ACCOUNT, kms_key_id=KEY)
    called.client.put_object(
        Bucket="inputs", Key="k", Body=b"", ExpectedBucketOwner=OTHER, SSEKMSKeyId="alias/own"
    )
    [(_, sent)] = called.sent()
    assert (sent["ExpectedBucketOwner"], sent["SSEKMSKeyId"]) == (OTHER, "alias/own")


def test_rules_are_applied_once(s3: Callable[..., Called]) -> None:
    called = s3(bucket_owner=ACCOUNT)
    with_bucket_rules(called.client, _settings(bucket_owner=ACCOUNT))
    called.client.put_object(Bucket="inputs", Key="k", Body=b"")
    assert [name for name, _ in called.sent()] == ["PutObject"]


def test_every_operation_that_writes_or_has_an_owner_is_covered() -> None:
    """Also those that the package does not call today."""
    rules = BucketRules(_settings(bucket_owner=ACCOUNT, kms_key_id=KEY))
    model = Session().get_service_model("s3")
    for name in model.operation_names:
        operation = model.operation_model(name)
        members = operation.input_shape.members if operation.input_shape else {}
        added = rules.parameters({"Bucket": "inputs", "CopySource": "inputs/key"}, operation)
        assert ("ExpectedBucketOwner" in added) == ("ExpectedBucketOwner" in members), name
        assert ("ExpectedSourceBucketOwner" in added) == ("ExpectedSourceBucketOwner" in members), name
    for name in ("PutObject", "CopyObject", "CreateMultipartUpload"):
        assert rules.parameters({}, model.operation_model(name))["SSEKMSKeyId"] == KEY


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://b/k/l", ("b", "k/l")),
        ("s3://b", ("b", "")),
        (
            f"s3://arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/mine/k/l",
            (f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/mine", "k/l"),
        ),
        (
            f"s3://arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint:m",
            (f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint:m", ""),
        ),
    ],
)
def test_an_access_point_stands_in_place_of_a_bucket(uri: str, place: tuple[str, str]) -> None:
    assert split_uri(uri) == place


_LIST = b"<ListBucketResult><Contents><Key>rows/a.jsonl</Key><Size>12</Size></Contents></ListBucketResult>"


def test_inputs_are_read_through_an_access_point() -> None:
    """The requests go to the access point's host, whatever the bucket behind it is."""
    client: Any = s3_client(_settings(bucket_owner=ACCOUNT))  # its stubs know no handler that responds
    asked = list[str]()

    def respond(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        asked.append(str(request.url))
        body = _LIST if "list-type" in str(request.url) else b'{"id": "a"}\n'
        raw: Any = _Raw(b"" if request.method == "HEAD" else body)
        headers = {"content-length": str(len(body)), "x-amz-request-id": "D036B062711CC5E0"}
        return AWSResponse("https://s3", 200, HTTPHeaders.from_dict(headers), raw)

    client.meta.events.register("before-send.s3", respond)
    location = f"s3://arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/mine/rows/"
    source = open_location([location], S3Objects(client))
    assert source.columns() == ["id"]
    assert [row for batch in source.batches(["id"]) for row in batch.rows.to_pylist()] == [{"id": "a"}]
    host = f"https://mine-{ACCOUNT}.s3-accesspoint.us-east-1.amazonaws.com/"
    assert asked
    assert {url.partition("rows")[0].partition("?")[0] for url in asked} == {host}


class _Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()
