"""The bucket: where it is, whose, who can read it, and whether its prefixes can be used."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from bedrock_pipeline.aws.bucket import Bucket
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, statement, unanswered, warn
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.submit.reconcile_incarnation import other_deployments

#: Beneath each prefix that is written; nothing of the name is ever read as data.
_PROBE: Final = "_doctor/probe"
_FORGOTTEN_AFTER: Final = timedelta(days=1)
_MOST_SHOWN: Final = 3
_CONTENT: Final = b"written by bedrock-pipeline doctor\n"


def check_bucket(examined: Examination) -> list[Finding]:
    """Whether the bucket exists, in the deployment's region."""
    return [_place(examined, bucket) for bucket in examined.buckets]


def _place(examined: Examination, bucket: Bucket) -> Finding:
    name, here = bucket.name, examined.settings.region
    try:
        region = bucket.region()
    except AwsError as error:
        return _without_bucket(examined, bucket, error)
    if region and region != here and not examined.embedded:
        return fail(
            "bucket",
            f"Bucket {name} is in {region}, and the deployment in {here}.",
            "Bedrock rejects a job whose bucket is in another region.",
            f"Set AWS_REGION={region}, or use a bucket in {here}.",
        )
    return ok("bucket", f"Bucket {name} exists" + (f", in {region}." if region else "."))


def _without_bucket(examined: Examination, bucket: Bucket, error: AwsError) -> Finding:
    name, here = bucket.name, examined.settings.region
    if error.kind is ErrorKind.NOT_FOUND:
        return fail(
            "bucket",
            f"There is no bucket {name}.",
            "Inputs, outputs and results have no place.",
            f"aws s3 mb s3://{name} --region {here}",
        )
    if error.kind is ErrorKind.DENIED:
        return fail(
            "bucket",
            f"Bucket {name} may not be listed, or is another account's.",
            "Inputs, outputs and results have no place.",
            statement(["s3:ListBucket"], examined.bucket_arn(name)),
        )
    return fail("bucket", error.what, "Inputs, outputs and results have no place.", error.fix)


def check_owner(examined: Examination) -> list[Finding]:
    """Whether the bucket is owned by the account of the credentials."""
    return [_owner(examined, bucket) for bucket in examined.buckets]


def _owner(examined: Examination, bucket: Bucket) -> Finding:
    named = examined.settings.bucket_owners.get(bucket.name)
    account = named or examined.identity.account
    try:
        bucket.region(owner=account)
    except AwsError as error:
        if error.kind is not ErrorKind.DENIED:
            return unanswered("bucket owner", "s3:ListBucket", error)
        if named:
            return fail(
                "bucket owner",
                f"Bucket {bucket.name} is not owned by account {account}, as the settings have it.",
                "S3 and Bedrock reject every use of it.",
                "Correct bucket_owner or output_bucket_owner.",
            )
        return warn(
            "bucket owner",
            f"Bucket {bucket.name} is not owned by account {account}.",
            "Bedrock expects the owner to be named, and the bucket's policy must admit the role.",
            "Use a bucket of the account, or name its owner by bucket_owner or output_bucket_owner.",
        )
    return ok("bucket owner", f"Bucket {bucket.name} is owned by account {account}.")


def check_encryption(examined: Examination) -> list[Finding]:
    """How the bucket encrypts what is written."""
    return [_encryption(bucket) for bucket in examined.buckets]


def _encryption(bucket: Bucket) -> Finding:
    try:
        found = bucket.encryption()
    except AwsError as error:
        return unanswered("bucket encryption", "s3:GetEncryptionConfiguration", error)
    if found is None:
        return warn(
            "bucket encryption",
            f"Bucket {bucket.name} has no default encryption.",
            "Prompts and answers are stored as S3 chooses.",
            f"aws s3api put-bucket-encryption --bucket {bucket.name} --server-side-encryption-configuration"
            ' \'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}\'',
        )
    key = f" with key {found.key}" if found.key else ""
    return ok("bucket encryption", f"Bucket {bucket.name} encrypts with {found.algorithm}{key}.")


def check_public_access(examined: Examination) -> list[Finding]:
    """Whether public access to the bucket is blocked."""
    return [_public_access(bucket) for bucket in examined.buckets]


def _public_access(bucket: Bucket) -> Finding:
    try:
        allowed = bucket.public_access_allowed()
    except AwsError as error:
        return unanswered("bucket public access", "s3:GetBucketPublicAccessBlock", error)
    if allowed:
        return warn(
            "bucket public access",
            f"Bucket {bucket.name} does not have {', '.join(allowed)}.",
            "A policy or an ACL could make prompts and answers public.",
            f"aws s3api put-public-access-block --bucket {bucket.name} --public-access-block-configuration "
            "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
        )
    return ok("bucket public access", f"Bucket {bucket.name} blocks public access.")


def check_prefixes(examined: Examination) -> list[Finding]:
    """Rights beneath each prefix: an object is written, read and deleted beneath `work_prefix`; none appears elsewhere."""
    settings, bucket = examined.settings, examined.buckets[0]
    output = examined.buckets[-1]
    return [
        _prefix(examined, bucket, "work_prefix", settings.work_prefix, "read, write and delete"),
        _prefix(examined, bucket, "input_prefix", settings.input_prefix, "write"),
        _prefix(examined, output, "output_prefix", settings.output_prefix, "list"),
        _prefix(examined, bucket, "results_prefix", settings.results_prefix, "write"),
    ]


def _prefix(examined: Examination, bucket: Bucket, setting: str, prefix: str, use: str) -> Finding:
    check, uri = f"bucket {setting}", f"s3://{bucket.name}/{prefix.strip('/')}"
    key = f"{prefix.strip('/')}/{_PROBE}-{examined.deployment.system.new_id()}"
    try:
        if use == "list":
            bucket.list(f"{prefix.strip('/')}/")
        elif use == "write":
            bucket.begin_upload(key)
        else:
            _write_read_delete(examined, f"s3://{bucket.name}/{key}")
    except AwsError as error:
        actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        fix = statement(actions, examined.bucket_arn(bucket.name, prefix.strip("/"), "*"))
        if error.kind is not ErrorKind.DENIED:
            return fail(check, error.what, f"Files beneath {uri} cannot be used.", error.fix)
        return fail(check, error.what, f"Files beneath {uri} cannot be used.", fix)
    done = {
        "list": f"{uri}/ can be listed.",
        "write": f"{uri}/ can be written: an upload was begun and aborted.",
    }
    return ok(check, done.get(use, f"{uri}/: an object was written, read and deleted."))


def _write_read_delete(examined: Examination, uri: str) -> None:
    objects = examined.deployment.objects
    objects.put(uri, _CONTENT)
    try:
        objects.get(uri)
    finally:
        objects.delete([uri])


def check_neighbours(examined: Examination) -> list[Finding]:
    """Whether another deployment writes beneath the same prefixes."""
    deployment, check = examined.deployment, "bucket neighbours"
    try:
        current = deployment.ledger.is_current()
    except ServiceUnavailableError:
        current = False
    if not current:
        return [skipped(check, "Not checked: the ledger cannot be read.")]
    try:
        others = other_deployments(deployment)
    except AwsError as error:
        return [unanswered(check, "s3:ListBucket", error)]
    if not others:
        return [ok(check, "No other deployment writes beneath these prefixes.")]
    return [
        warn(
            check,
            f"Another deployment writes beneath these prefixes, or did: {', '.join(others[:_MOST_SHOWN])}.",
            "Of datasets that have the same names, latest.json names the results of whichever published last.",
            "Give each deployment a bucket or prefixes of its own; delete the object of one that is gone.",
        )
    ]


def check_uploads(examined: Examination) -> list[Finding]:
    """Multipart uploads that a process which was killed has left, and the rule that removes them."""
    return [finding for bucket in examined.buckets for finding in _uploads(examined, bucket)]


def _uploads(examined: Examination, bucket: Bucket) -> Iterator[Finding]:
    settings = examined.settings
    prefixes = (settings.input_prefix, settings.output_prefix, settings.work_prefix, settings.results_prefix)
    rule = (
        "It replaces all rules of the bucket: add it to those that there are.\n"
        f"aws s3api put-bucket-lifecycle-configuration --bucket {bucket.name} --lifecycle-configuration "
        '\'{"Rules":[{"ID":"uploads","Status":"Enabled","Filter":{},'
        '"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":7}}]}\''
    )
    try:
        found = [one for prefix in prefixes for one in bucket.uploads(f"{prefix.strip('/')}/")]
    except AwsError as error:
        yield unanswered("bucket uploads", "s3:ListBucketMultipartUploads", error)
    else:
        oldest = examined.deployment.system.now() - _FORGOTTEN_AFTER
        if old := [one for one in found if one.began_at < oldest]:
            yield warn(
                "bucket uploads",
                f"{len(old)} uploads in bucket {bucket.name} were begun more than a day ago and not ended, "
                f"the first of {old[0].key}.",
                "Their parts are invisible, and paid for.",
                rule,
            )
        else:
            yield ok("bucket uploads", f"No upload in bucket {bucket.name} was forgotten.")
    try:
        aborts = bucket.aborts_uploads()
    except AwsError as error:
        yield unanswered("bucket lifecycle", "s3:GetLifecycleConfiguration", error)
        return
    if aborts:
        yield ok("bucket lifecycle", f"Bucket {bucket.name} aborts uploads that were forgotten.")
    else:
        yield warn(
            "bucket lifecycle",
            f"No lifecycle rule of bucket {bucket.name} aborts unfinished uploads.",
            "A process that is killed leaves parts that are paid for.",
            rule,
        )
