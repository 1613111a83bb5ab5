"""What S3 says about a bucket, and whether its prefixes can be used.

What belongs here: one call for each question. What an answer means is decided in `doctor`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.errors import AwsError, translated
from bedrock_pipeline.aws.responses import server_time
from bedrock_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: What a bucket without such a configuration answers.
_NONE = frozenset(
    {
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchLifecycleConfiguration",
    }
)
_MOST_UPLOADS = 1000


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a bucket encrypts what is uploaded without a request for it: the algorithm, and the KMS key, None for AWS's own."""

    algorithm: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    began_at: datetime


class Bucket:
    """One bucket; safe to use from several threads."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self._client: S3Client = s3_client(settings)

    def region(self, owner: str | None = None) -> str | None:
        """The region in which it is; None where S3 does not say.

        Args:
            owner: the account that must own it; None: any.

        Raises:
            AwsError: it does not exist, is not `owner`'s, or may not be used.
        """
        expected: Any = {"ExpectedBucketOwner": owner} if owner else {}
        try:
            with translated(f"use bucket {self.name}"):
                answer = self._client.head_bucket(Bucket=self.name, **expected)
        except AwsError as error:
            if (region := _headers(error.__cause__).get("x-amz-bucket-region")) and _redirected(error):
                return region
            raise
        headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
        return answer.get("BucketRegion") or headers.get("x-amz-bucket-region")

    def server_time(self) -> datetime | None:
        """AWS's clock, from the Date header of whatever S3 answers; None without one.

        Raises:
            AwsError: S3 does not answer.
        """
        try:
            with translated(f"use bucket {self.name}"):
                answer = self._client.head_bucket(Bucket=self.name)
                headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
        except AwsError as error:
            headers = _headers(error.__cause__)
            if not headers:
                raise
        return server_time(headers)

    def encryption(self) -> Encryption | None:
        """Its default encryption; None without one.

        Raises:
            AwsError: it may not be read.
        """
        with translated(f"get the encryption of bucket {self.name}"):
            found = self._or_none(lambda: self._client.get_bucket_encryption(Bucket=self.name))
        if not found:
            return None
        rule = found["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]
        return Encryption(rule["SSEAlgorithm"], rule.get("KMSMasterKeyID"))

    def public_access_allowed(self) -> list[str]:
        """Those of the four settings that block public access that are off.

        Raises:
            AwsError: they may not be read.
        """
        with translated(f"get the public access block of bucket {self.name}"):
            found = self._or_none(lambda: self._client.get_public_access_block(Bucket=self.name))
        configured = found["PublicAccessBlockConfiguration"] if found else {}
        names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        return [name for name in names if not configured.get(name)]

    def uploads(self, prefix: str) -> list[Upload]:
        """The unfinished multipart uploads beneath a prefix, a thousand at most.

        Raises:
            AwsError: they may not be listed.
        """
        with translated(f"list the multipart uploads of bucket {self.name}"):
            found = self._client.list_multipart_uploads(
                Bucket=self.name, Prefix=prefix, MaxUploads=_MOST_UPLOADS
            )
        return [Upload(one["Key"], one["Initiated"]) for one in found.get("Uploads", [])]

    def aborts_uploads(self) -> bool:
        """Whether a rule of its lifecycle aborts unfinished multipart uploads.

        Raises:
            AwsError: it may not be read.
        """
        with translated(f"get the lifecycle of bucket {self.name}"):
            found = self._or_none(lambda: self._client.get_bucket_lifecycle_configuration(Bucket=self.name))
        rules = found["Rules"] if found else []
        return any(rule["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in rule for rule in rules)

    def list(self, prefix: str) -> None:
        """List a key beneath a prefix.

        Raises:
            AwsError: it is not allowed.
        """
        with translated(f"list s3://{self.name}/{prefix}"):
            self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=1)

    def begin_upload(self, key: str) -> None:
        """Begin an upload and abort it: no object appears, and writing is allowed.

        Args:
            key: of the object that would be written.

        Raises:
            AwsError: it is not allowed.
        """
        with translated(f"write beneath s3://{self.name}/{key.rpartition('/')[0]}"):
            upload = self._client.create_multipart_upload(Bucket=self.name, Key=key)["UploadId"]
            self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)

    @staticmethod
    def _or_none(call: Any) -> Any:
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] in _NONE:
                return None
            raise


def _headers(error: BaseException | None) -> Mapping[str, str]:
    if not isinstance(error, ClientError):
        return {}
    headers: Mapping[str, str] = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    return headers


def _redirected(error: AwsError) -> bool:
    """Whether the bucket is in another region than the one that was asked."""
    return error.classification.status in (301, 307, 400)
