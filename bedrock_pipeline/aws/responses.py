"""Whether a response is AWS's at all, and the clock that it has.

What belongs here: what boto3 would believe of a page that a proxy or a captive portal answers in AWS's place: with status 200 it
is a list without jobs, or an object; with 404 there is no such object. Each response of AWS has the id of its request ("Common
response headers", in AWS's documentation of its APIs and in Amazon S3's API reference).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from botocore.model import OperationModel

from bedrock_pipeline.aws.errors import NotOfAwsError, NotOfS3Error

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_s3 import S3Client

_Client = TypeVar("_Client", "BedrockClient", "BedrockRuntimeClient")
_AWS: Final = re.compile(r"(.*\.)?amazonaws\.com(\.cn)?")
_IDS: Final = ("x-amz-request-id", "x-amz-id-2", "x-amzn-requestid")
#: Responses that have no body of XML, but the object's tag ("GetObject" and so on, Amazon S3's API reference).
_TAGGED: Final = frozenset({"GetObject", "HeadObject", "PutObject", "UploadPart"})
#: An element that others have, of those that decide something. What servers call the first one of an upload differs.
_ELEMENTS: Final = {
    "ListObjectsV2": "ListBucketResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "CreateMultipartUpload": "UploadId",
    "CompleteMultipartUpload": "ETag",
    "CopyObject": "ETag",
}
#: What CloudFront adds to a response of anybody.
_OF_A_PROXY: Final = frozenset({"x-amz-cf-id", "x-amz-cf-pop"})
_ERROR: Final = re.compile(rb"<(\w+:)?Error[\s>/]")
#: Before the weekday of a further date: a proxy may add a header of its own.
_NEXT_DATE: Final = re.compile(r", *(?=[A-Z][a-z]{2},)")


def only_from_aws(client: _Client) -> _Client:
    """The client of Bedrock, for which a response that is not AWS's is an error."""
    events: Any = client.meta.events  # its stubs know no handler that raises
    events.register("after-call", _must_be_of_aws, unique_id="bedrock-pipeline-only-from-aws")
    return client


def _must_be_of_aws(http_response: Any, **_: object) -> None:
    if _decides(http_response.status_code) and "x-amzn-requestid" not in http_response.headers:
        raise NotOfAwsError(status=http_response.status_code)


def only_from_s3(client: "S3Client") -> "S3Client":
    """The client of S3, for which a response that is not S3's is an error, and never the absence of an object.

    AWS's own endpoints answer with the id of the request. Of other servers that speak S3's protocol not all do: theirs must have
    a header of S3's, or the object's tag or the XML that the operation answers, and for an absence XML or nothing; no page of HTML.
    """
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    check = _must_be_of_amazon_s3 if _AWS.fullmatch(host) else _must_be_of_some_s3
    events: Any = client.meta.events
    events.register("before-parse.s3", check, unique_id="bedrock-pipeline-only-from-s3")
    return client


def _must_be_of_amazon_s3(
    operation_model: OperationModel, response_dict: Mapping[str, Any], **_: object
) -> None:
    headers = response_dict["headers"]
    if not any(name in headers for name in _IDS):
        _not_of_s3(response_dict)
    _must_have_its_element(operation_model.name, response_dict)


def _must_be_of_some_s3(
    operation_model: OperationModel, response_dict: Mapping[str, Any], **_: object
) -> None:
    headers, name = response_dict["headers"], operation_model.name
    found = response_dict["status_code"] < HTTPStatus.BAD_REQUEST
    kind, body = headers.get("content-type", "").lower(), response_dict["body"]
    ours = any(one.lower().startswith("x-amz") and one.lower() not in _OF_A_PROXY for one in headers)
    is_page = "text/html" in kind and (
        body or headers.get("content-length", "0") != "0"
    )  # of HEAD only the length is seen
    if ("text/html" in kind and not ours) or (is_page and not found):
        _not_of_s3(response_dict)
    if not ours and found and name in _TAGGED and "etag" not in headers:
        _not_of_s3(response_dict)
    if not (ours or found) and ((kind and "xml" not in kind) or (body and not _ERROR.search(body))):
        _not_of_s3(response_dict)
    _must_have_its_element(name, response_dict)


def _must_have_its_element(name: str, response: Mapping[str, Any]) -> None:
    element = _ELEMENTS.get(name)
    if element is None or response["status_code"] >= HTTPStatus.BAD_REQUEST:
        return
    if not re.search(rb"<(\w+:)?(%s|Error)[\s>/]" % element.encode(), response["body"]):
        _not_of_s3(response)


def _not_of_s3(response: Mapping[str, Any]) -> None:
    if _decides(response["status_code"]):
        raise NotOfS3Error(status=response["status_code"])


def _decides(status: int) -> bool:
    """Whether something would follow from a response of this status; of any other, that it is tried again."""
    return status < HTTPStatus.BAD_REQUEST or status == HTTPStatus.NOT_FOUND


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """The time of a response's Date header, the first where a proxy has added one; None without one that can be read."""
    first = _NEXT_DATE.split(headers.get("date", ""))[0]
    try:
        read = parsedate_to_datetime(first)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
