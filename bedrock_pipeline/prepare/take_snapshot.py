"""Take an immutable snapshot of a dataset's input.

What belongs here: opening the source, writing the snapshot in a work folder and in S3, telling the ledger.
"""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.reject_duplicates import REJECTED
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.images import MOST_BYTES, NotAnImageError
from bedrock_pipeline.prepare.snapshot.writer import SnapshotPlan, write_snapshot
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.sources import Source, open_location


class NoSourceError(BedrockPipelineError):
    """A dataset has no input."""


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """A snapshot in S3.

    Attributes:
        records: duplicates included.
        duplicates: records whose request another record asks already; they get its answer.
        rejections: number of rows left out, by reason.
        rejected_uri: parquet with position, record id and reason of each of them.
        unchanged: the ledger knew a snapshot of the same content.
    """

    uri: str
    content_hash: str
    records: int
    duplicates: int
    rejected: int
    rejections: dict[str, int]
    rejected_uri: str
    schema: pa.Schema
    unchanged: bool


def take_snapshot(deployment: Deployment, pipeline: Pipeline, dataset: str) -> SnapshotReport:
    """Read the dataset's input once; the same content again changes nothing.

    Raises:
        DatasetChangedError: jobs were submitted for other content under this key.
        InputError, ColumnError, TemplateError, EmptyDatasetError: the input is not fit.
        NoSourceError: neither pipeline nor dataset names an input.
    """
    check_dataset_key(dataset)
    row = deployment.ledger.datasets.ensure(pipeline.name, dataset)
    effective = pipeline.for_dataset(row.request)
    source = open_source(deployment, effective, dataset)
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        snapshot = write_snapshot(
            source, snapshot_plan(effective), Path(folder), partial(fetch_image, deployment.objects)
        )
        uri = deployment.settings.uri(
            deployment.settings.work_prefix, "snapshots", pipeline.name, dataset, snapshot.content_hash
        )
        for file in (*snapshot.parts, *snapshot.duplicate_parts):
            deployment.objects.upload(file, f"{uri}/{file.name}")
        deployment.objects.upload(snapshot.rejected, f"{uri}/{REJECTED}")
    rejected = sum(snapshot.rejections.values())
    deployment.ledger.datasets.record_snapshot(
        pipeline.name,
        dataset,
        uri=f"{uri}/",
        content_hash=snapshot.content_hash,
        records=snapshot.records,
        duplicates=snapshot.duplicates,
        rejected=rejected,
    )
    return SnapshotReport(
        uri=f"{uri}/",
        content_hash=snapshot.content_hash,
        records=snapshot.records,
        duplicates=snapshot.duplicates,
        rejected=rejected,
        rejections=snapshot.rejections,
        rejected_uri=f"{uri}/{REJECTED}",
        schema=snapshot.schema,
        unchanged=row.snapshot_hash == snapshot.content_hash,
    )


def open_source(deployment: Deployment, pipeline: Pipeline, dataset: str) -> Source:
    """The source of a dataset, by its pipeline's rule.

    Raises:
        NoSourceError: there is none.
        InputError: its location holds no file that can be read.
    """
    if pipeline.source is None:
        raise NoSourceError(
            f"Pipeline {pipeline.name!r} names no input for dataset {dataset!r}.",
            "Launch it with `bedrock-pipeline launch … --input`, or give the pipeline a source.",
        )
    if callable(pipeline.source):
        return pipeline.source(dataset)
    locations = [pipeline.source] if isinstance(pipeline.source, str) else pipeline.source
    return open_location(
        [location.replace("{dataset}", dataset) for location in locations],
        deployment.objects,
        pipeline.column_types,
    )


def snapshot_plan(pipeline: Pipeline) -> SnapshotPlan:
    """What a snapshot of the pipeline's input holds."""
    return SnapshotPlan(
        request_template(pipeline), pipeline.record_id, pipeline.carry, pipeline.ask_identical_once
    )


def request_template(pipeline: Pipeline) -> RequestTemplate:
    """What the pipeline asks of every row."""
    return RequestTemplate(
        pipeline.model_family,
        prompt=pipeline.prompt,
        model_input=pipeline.model_input,
        system=pipeline.system,
        parameters=pipeline.parameters,
        null_text=pipeline.null_text,
        image_columns=pipeline.images,
        answer=pipeline.answer_format,
    )


def fetch_image(objects: S3Objects, location: str) -> bytes:
    """An image from an s3:// URI, a file:// URI or an absolute path.

    Raises:
        NotAnImageError: there is none, or it is larger than any model takes.
        AwsError: S3 cannot be reached.
    """
    try:
        if location.startswith("s3://"):
            info = objects.head(location)
            size = info.size if info else None
        else:
            path = Path(unquote(location.removeprefix("file://")))
            size = path.stat().st_size
    except (FileNotFoundError, PermissionError, NotADirectoryError, ValueError):
        size = None
    if size is None:
        raise NotAnImageError("leads to nothing that can be read")
    if size > MOST_BYTES:
        raise NotAnImageError(f"leads to more than {MOST_BYTES} bytes")
    return objects.get(location) if location.startswith("s3://") else path.read_bytes()
