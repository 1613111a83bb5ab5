"""Commands that work on files alone, with the code of the assets: `pack`, `parse`."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.cli.measure import Measured
from bedrock_pipeline.cli.output import console, json_line_option, print_json, quiet_option
from bedrock_pipeline.cli.progress import command_progress
from bedrock_pipeline.cli.request_options import (
    body_options,
    dataset_request,
    files_of,
    output_family,
    pipeline_of_options,
    request_options,
    with_options,
)
from bedrock_pipeline.collect.retry_policy import MISSING
from bedrock_pipeline.collect.tally import ChunkMetadata
from bedrock_pipeline.files.folders import place
from bedrock_pipeline.files.pack_files import pack_files
from bedrock_pipeline.files.parse_files import parse_files
from bedrock_pipeline.pricing.prices import price_of
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.sources import plain_location


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--model", required=True, help="Model id or ARN; decides the format of the request.")
@request_options
@click.option("--min-records", type=int, help="Minimum number of records of a job.")
@click.option("--max-records", type=int, help="Maximum number of records of a job.")
@click.option("--max-file-records", type=int, help="Maximum number of records of a file.")
@click.option("--max-file-bytes", type=int, help="Maximum bytes of a file.")
@click.option("--max-job-bytes", type=int, help="Maximum bytes of a job.")
@click.option("--out", required=True, help="Empty folder or s3:// location to write to.")
@json_line_option
@quiet_option
def pack(inputs: tuple[str, ...], out: str, as_json: bool, **options: Any) -> None:
    """Pack files into the JSONL of batch jobs.

    Example: bedrock-pipeline pack in.csv --model MODEL --prompt '{{ text }}' --out out
    """
    numbers = {name: options.pop(name) for name in Limits.model_fields.keys() & options.keys()}
    limits = {name: number for name, number in numbers.items() if number is not None}
    pipeline = pipeline_of_options(
        "files",
        dataset_request(**options),
        **({"limits": limits} if limits else {}),
        # Every row gets a line of its own: there is no ledger for duplicates, nor for other ways of invocation.
        ask_identical_once=False,
        below_minimum="fail",
    )
    objects = objects_for(*inputs, out)
    with Measured() as measured, command_progress("packed") as progress:
        report = pack_files(
            progress.read_from(files_of(pipeline, inputs, objects)),
            pipeline,
            place(out, objects),
            progress=progress,
        )
    rejected = sum(report.rejections.values())
    _tell(
        as_json,
        measured,
        f"{report.records:,} records in {report.chunks} {'chunk' if report.chunks == 1 else 'chunks'} at {out}; {rejected} rejected",
        records=report.records,
        bytes=report.bytes,
        chunks=report.chunks,
        rejected=rejected,
        rejections=report.rejections,
        **({"notes": report.notes} if report.notes else {}),
    )
    for note in [] if as_json else report.notes:
        console.print(note)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--model", required=True, help="Model id or ARN; determines the form of the output.")
@partial(with_options, body_options)
@click.option(
    "--index",
    help="The chunk's index.parquet: adds record ids, carried columns and the records without a line.",
)
@click.option("--keep-raw", is_flag=True, help="Keep the model's whole output as JSON.")
@click.option("--out", required=True, help="Parquet file, local or s3://.")
@json_line_option
@quiet_option
def parse(
    files: tuple[str, ...],
    model: str,
    family: str | None,
    invocation: str | None,
    index: str | None,
    keep_raw: bool,
    out: str,
    as_json: bool,
) -> None:
    """Read the output files of batch jobs into a parquet file.

    Example: bedrock-pipeline parse 0.jsonl.out --model MODEL --out results.parquet
    """
    metadata = ChunkMetadata(
        family=output_family(model, family, invocation),
        model_id=model,
        chunk_key="",
        job_arn=None,
        attempt=1,
        no_answer=(MISSING, "no line for this record"),
        keep_raw=keep_raw,
        own_bodies=True,  # as far as files say
        price=price_of(model, datetime.now(UTC)),
    )
    objects = objects_for(*files, out, index or "")
    with Measured() as measured, command_progress("parsed") as progress:
        counter = parse_files(files, metadata, out, objects, index=index, progress=progress)
    unknown = f"; {counter.unknown} lines of records that the index does not have" if counter.unknown else ""
    _tell(
        as_json,
        measured,
        f"{counter.answered} responses and {counter.final_errors} errors in {out}; "
        f"{counter.malformed} unreadable lines{unknown}",
        records=counter.records,
        bytes=progress.bytes,
        answered=counter.answered,
        failed=counter.final_errors,
        unreadable_lines=counter.malformed,
        unknown_records=counter.unknown,
        input_tokens=counter.input_tokens,
        output_tokens=counter.output_tokens,
    )


def objects_for(*locations: str) -> S3Objects:
    """S3 with the settings of the environment, of which nothing is read if no location is in S3.

    Bucket and role may be missing, as locations name their buckets.
    """
    in_s3 = any(plain_location(location).startswith("s3://") for location in locations)
    unused = Settings(bucket="", role_arn="", ignore_aws_configuration=True)
    return S3Objects(s3_client(Settings.resolve(partial=True) if in_s3 else unused))


def _tell(as_json: bool, measured: Measured, sentence: str, **metadata: Any) -> None:
    figures = {"seconds": round(measured.seconds, 3), "peak_bytes": measured.peak_bytes}
    if as_json:
        print_json({**metadata, **figures})
    else:
        click.echo(f"{sentence} ({measured.seconds:.1f} s, {measured.peak_bytes / 1e6:.0f} MB of memory)")
