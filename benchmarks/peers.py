"""What others do with the same rows and files, each at its best: one file out, no chunks, no limits, no hashes, no costs.

What belongs here: one function a peer and task, and the transfer from and to S3, with the client of this package. Run as
`python peers.py PEER TASK SOURCE FOLDER`, with the environment of the stack; prints one JSON object.

Outputs are read as local files: downloading them is left out in favour of the peers.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.settings import Settings

_CLAUDE = "stop_reason VARCHAR, usage STRUCT(input_tokens BIGINT, output_tokens BIGINT)"
_COUNTS = """modelOutput.stop_reason AS stop_reason, modelOutput.usage.input_tokens AS input_tokens,
    modelOutput.usage.output_tokens AS output_tokens"""
#: Columns that are declared, which is DuckDB's fastest way, and what is selected of them.
_DUCKDB = {
    "text": (
        f'STRUCT(content STRUCT("type" VARCHAR, "text" VARCHAR)[], {_CLAUDE})',
        f"modelOutput.content[1].text AS output_text, {_COUNTS}",
    ),
    "structured": (
        f"""STRUCT(content STRUCT("type" VARCHAR, "input" STRUCT(label VARCHAR, score DOUBLE, "count" BIGINT,
            tags VARCHAR[], summary VARCHAR))[], {_CLAUDE})""",
        f"unnest(modelOutput.content[1].input), {_COUNTS}",
    ),
    "embeddings": (
        "STRUCT(embedding FLOAT[1024], inputTextTokenCount BIGINT)",
        "modelOutput.embedding AS embedding, modelOutput.inputTextTokenCount AS input_tokens",
    ),
}


def duckdb_prepare(source: str, out: str) -> None:
    """`COPY … TO` NDJSON."""
    _duckdb(
        f"""COPY (SELECT id AS "recordId", {{'anthropic_version': 'bedrock-2023-05-31', 'max_tokens': 1024,
            'messages': [{{'role': 'user', 'content': [{{'type': 'text', 'text': text}}]}}]}} AS "modelInput"
            FROM read_parquet('{source}')) TO '{out}' (FORMAT json)"""  # noqa: S608  # our own files
    )


def duckdb_collect(task: str, source: str, out: str) -> None:
    """NDJSON into parquet."""
    kind, selected = _DUCKDB[task]
    _duckdb(
        f"""COPY (SELECT recordId AS record_id, {selected} FROM read_json('{source}/*.jsonl.out',
            format = 'newline_delimited', maximum_object_size = 100000000,
            columns = {{recordId: 'VARCHAR', modelOutput: '{kind}'}}))
            TO '{out}' (FORMAT parquet, COMPRESSION zstd)"""  # noqa: S608  # our own files
    )


def _duckdb(statement: str) -> None:
    import duckdb

    with duckdb.connect(config={"threads": _threads()}) as connection:
        connection.execute(statement)


def polars_prepare(source: str, out: str) -> None:
    """`sink_ndjson`."""
    import polars as pl

    text = pl.struct(type=pl.lit("text"), text="text")
    message = pl.struct(role=pl.lit("user"), content=pl.concat_list(text))
    body = pl.struct(
        anthropic_version=pl.lit("bedrock-2023-05-31"),
        max_tokens=pl.lit(1024),
        messages=pl.concat_list(message),
    )
    pl.scan_parquet(source).select(recordId="id", modelInput=body).sink_ndjson(out)


def polars_collect(task: str, source: str, out: str) -> None:
    """`scan_ndjson` with the schema declared, `sink_parquet`."""
    import polars as pl

    usage = {"usage": pl.Struct({"input_tokens": pl.Int64, "output_tokens": pl.Int64})}
    claude = {"stop_reason": pl.String, **usage}
    answer = pl.Struct(
        {
            "label": pl.String,
            "score": pl.Float64,
            "count": pl.Int64,
            "tags": pl.List(pl.String),
            "summary": pl.String,
        }
    )
    output = {
        "text": {"content": pl.List(pl.Struct({"type": pl.String, "text": pl.String})), **claude},
        "structured": {"content": pl.List(pl.Struct({"type": pl.String, "input": answer})), **claude},
        "embeddings": {"embedding": pl.List(pl.Float32), "inputTextTokenCount": pl.Int64},
    }[task]
    found = pl.col("modelOutput").struct
    counts = {
        "stop_reason": found.field("stop_reason"),
        "input_tokens": found.field("usage").struct.field("input_tokens"),
        "output_tokens": found.field("usage").struct.field("output_tokens"),
    }
    content = found.field("content").list.get(0).struct if task != "embeddings" else None
    selected = {
        "text": lambda: {"output_text": content.field("text"), **counts},
        "structured": lambda: {"answer": content.field("input"), **counts},
        "embeddings": lambda: {
            "embedding": found.field("embedding").list.to_array(1024),
            "input_tokens": found.field("inputTextTokenCount"),
        },
    }[task]()
    schema = {"recordId": pl.String, "modelOutput": pl.Struct(output)}
    rows = pl.scan_ndjson(f"{source}/*.jsonl.out", schema=schema).select(record_id="recordId", **selected)
    (rows.unnest("answer") if task == "structured" else rows).sink_parquet(out, compression="zstd")


def _threads() -> int:
    return int(os.environ["POLARS_MAX_THREADS"])


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run one."""
    peer, task, source, folder = sys.argv[1:]
    __import__(peer)  # what is timed is the work
    objects, out = S3Objects(s3_client(settings := Settings.resolve())), Path(folder) / "out"
    began = time.perf_counter()
    if task == "prepare":
        {"duckdb": duckdb_prepare, "polars": polars_prepare}[peer](source, str(out))
    else:
        {"duckdb": duckdb_collect, "polars": polars_collect}[peer](task, source, str(out))
    converted, before = time.perf_counter(), _cpu()
    objects.upload(out, settings.uri("peers", peer))
    done = {"seconds": time.perf_counter() - began, "upload_s": time.perf_counter() - converted}
    print(json.dumps({**done, "upload_cpu_s": _cpu() - before}))  # noqa: T201  # the result


if __name__ == "__main__":
    main()
