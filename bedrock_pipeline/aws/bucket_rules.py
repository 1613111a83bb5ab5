"""What the settings say about every call of S3: who must own the bucket, and which key encrypts what is written.

It is added where boto3 builds its requests, so that parts of an upload and copies have it as well, and no call can be
forgotten. Sources: "Verifying bucket ownership with bucket owner condition" and "Specifying server-side encryption with AWS
KMS (SSE-KMS)", Amazon S3 user guide; which operations take the members is read in botocore's service model.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from botocore.model import OperationModel

from bedrock_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OWNER: Final = "ExpectedBucketOwner"
_SOURCE_OWNER: Final = "ExpectedSourceBucketOwner"
_ENCRYPTION: Final = "ServerSideEncryption"


def with_bucket_rules(client: "S3Client", settings: Settings) -> "S3Client":
    """The client, whose calls from now on have what the settings say."""
    rules = BucketRules(settings)
    events: Any = client.meta.events  # its stubs know no handler that responds
    events.register("provide-client-params.s3", rules.parameters, unique_id="bedrock-pipeline-bucket-rules")
    return client


class BucketRules:
    """The members that the settings add to calls of S3; a member that a call has is left as it is.

    Buckets that the settings do not name, such as those of inputs, may be anybody's. What is written there is encrypted with
    the key all the same.
    """

    def __init__(self, settings: Settings) -> None:
        self._owners = settings.bucket_owners
        self._encryption: dict[str, Any] = {}
        if settings.kms_key_id:
            self._encryption = {
                _ENCRYPTION: "aws:kms",
                "SSEKMSKeyId": settings.kms_key_id,
                "BucketKeyEnabled": settings.bucket_key,
            }

    def parameters(self, params: Mapping[str, Any], model: OperationModel, **_: object) -> dict[str, Any]:
        """The parameters of a call, with those that are added; boto3 calls it for each call."""
        members = model.input_shape.members if model.input_shape else {}
        added: dict[str, Any] = {}
        if _OWNER in members and (owner := self._owners.get(params.get("Bucket", ""))):
            added[_OWNER] = owner
        if _SOURCE_OWNER in members and (owner := self._owners.get(_source(params.get("CopySource")))):
            added[_SOURCE_OWNER] = owner
        if _ENCRYPTION in members and "SSEKMSKeyId" in members:
            added |= self._encryption
        return {**added, **params}


def _source(copied: Any) -> str:
    """The bucket that an object is copied from."""
    if isinstance(copied, Mapping):
        return str(copied.get("Bucket", ""))
    return str(copied or "").partition("/")[0]
