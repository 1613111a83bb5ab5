"""This package's measured process: the functions behind the assets, over the embedded Postgres and S3.

What belongs here: one function a task. Run as `python ours.py TASK KIND DATASET SOURCE`, with the environment of the stack;
prints one JSON object. `end` is not measured: it stands in for Bedrock.
"""

import json
import os
import sys
import time
from pathlib import Path

from data import ANSWER_SCHEMA, DIMENSION

from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.ledger.jobs import Observation
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import output_folder
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.settings import Settings

_JOBS = 10_000


def pipeline_of(kind: str, source: str) -> Pipeline:
    """The pipeline of a kind of response."""
    shared = {"name": kind, "source": source, "prompt": "{{ text }}", "record_id": "id"}
    if kind == "embeddings":
        model = "amazon.titan-embed-text-v2:0"
        return Pipeline(model_id=model, parameters={"dimensions": DIMENSION}, **shared)
    answer = {"answer_schema": ANSWER_SCHEMA} if kind == "structured" else {}
    return Pipeline(model_id="anthropic.claude-3-haiku-20240307-v1:0", **answer, **shared)


def prepare(deployment: Deployment, pipeline: Pipeline, dataset: str) -> dict[str, object]:
    """From the input to chunks in S3, as `input_dataset` and `batch_chunks` do it."""
    began = time.perf_counter()
    snapshot = take_snapshot(deployment, pipeline, dataset)
    between = time.perf_counter()
    packed = pack_dataset(deployment, pipeline, dataset)
    return {
        "snapshot_s": between - began,
        "pack_s": time.perf_counter() - between,
        "records": packed.records,
        "duplicates": snapshot.duplicates,
        "rejected": snapshot.rejected,
        "hashes": [chunk.content_hash for chunk in packed.chunks],
    }


def collect(deployment: Deployment, pipeline: Pipeline, dataset: str) -> dict[str, object]:
    """From output in S3 to published results, as `parsed_results` and `results` do it."""
    for chunk in _chunks(deployment, pipeline, dataset):
        collect_chunk(deployment, pipeline, chunk.chunk_key)
    published = publish_dataset(deployment, pipeline, dataset)
    return {"records": published.records, "succeeded": published.succeeded}


def end(deployment: Deployment, pipeline: Pipeline, dataset: str) -> dict[str, object]:
    """End the jobs of all chunks, whose output files are in the folder `OUTPUTS`, in the order of the chunks."""
    settings = deployment.settings
    group = pipeline.group_in(settings.region, settings.account)
    deployment.ledger.quota_groups.set_max_jobs(group, _JOBS)
    files = sorted(Path(os.environ["OUTPUTS"]).iterdir())
    for chunk, file in zip(_chunks(deployment, pipeline, dataset), files, strict=True):
        intent = deployment.ledger.submissions.intend(
            chunk.chunk_id, deployment.system.new_id(), request=chunk.request, lease=settings.lease
        )
        assert isinstance(intent, Intent), intent
        arn = f"arn:aws:bedrock:{settings.region}:123456789012:model-invocation-job/{chunk.chunk_id.hex[:12]}"
        deployment.ledger.submissions.record_accepted(chunk.chunk_id, intent.fence, arn)
        folder = output_folder(intent.request, arn)
        deployment.objects.upload(file, f"{folder}{file.name}")
        counts = {"totalRecordCount": chunk.records, "successRecordCount": chunk.records}
        deployment.objects.put(f"{folder}manifest.json.out", json.dumps(counts).encode())
        many = chunk.records
        deployment.ledger.jobs.observe([Observation(arn, "completed", None, many, many, many, 0)])
    return {}


def _chunks(deployment: Deployment, pipeline: Pipeline, dataset: str) -> list[ChunkRow]:
    version = deployment.ledger.datasets.ensure(pipeline.name, dataset).version
    return deployment.ledger.chunks.of_dataset(pipeline.name, dataset, version)


def main() -> None:
    """Run one."""
    task, kind, dataset, source = sys.argv[1:]
    with open_deployment(Settings.resolve()) as deployment:
        deployment.ledger.migrate()
        pipeline = pipeline_of(kind, source)
        began = time.perf_counter()
        did = {"prepare": prepare, "collect": collect, "end": end}[task](deployment, pipeline, dataset)
        print(json.dumps({"seconds": time.perf_counter() - began, **did}))  # noqa: T201  # the result


if __name__ == "__main__":
    main()
