"""What others do with the same files, each at its best: one file out, no chunks, no limits, no hashes.

What belongs here: one function a peer and task. Run as `python peers.py PEER TASK INPUT OUT`; prints one JSON object.
"""

import json
import sys
import time

_PARSED = """recordId AS record_id, modelOutput.content[1].text AS output_text, modelOutput.stop_reason AS stop_reason,
    modelOutput.usage.input_tokens AS input_tokens, modelOutput.usage.output_tokens AS output_tokens"""
_COLUMNS = """{recordId: 'VARCHAR', modelOutput: 'STRUCT(content STRUCT("type" VARCHAR, "text" VARCHAR)[],
    stop_reason VARCHAR, usage STRUCT(input_tokens BIGINT, output_tokens BIGINT))'}"""


def duckdb_pack(source: str, out: str) -> None:
    """`COPY … TO` NDJSON."""
    import duckdb

    duckdb.sql(
        f"""COPY (SELECT id AS "recordId", {{'anthropic_version': 'bedrock-2023-05-31', 'max_tokens': 1024,
            'messages': [{{'role': 'user', 'content': [{{'type': 'text', 'text': text}}]}}]}} AS "modelInput"
            FROM read_parquet('{source}')) TO '{out}' (FORMAT json)"""  # noqa: S608  # our own files
    )


def duckdb_parse(source: str, out: str) -> None:
    """NDJSON into parquet, with the columns that are needed declared, which is its fastest way."""
    import duckdb

    duckdb.sql(
        f"""COPY (SELECT {_PARSED} FROM read_json('{source}/*.jsonl.out', format = 'newline_delimited',
            columns = {_COLUMNS})) TO '{out}' (FORMAT parquet, COMPRESSION zstd)"""  # noqa: S608  # our own files
    )


def polars_pack(source: str, out: str) -> None:
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


def polars_parse(source: str, out: str) -> None:
    """`scan_ndjson` with the schema declared, `sink_parquet`."""
    import polars as pl

    text = pl.Struct({"type": pl.String, "text": pl.String})
    usage = pl.Struct({"input_tokens": pl.Int64, "output_tokens": pl.Int64})
    output = pl.Struct({"content": pl.List(text), "stop_reason": pl.String, "usage": usage})
    answer = pl.col("modelOutput").struct
    pl.scan_ndjson(f"{source}/*.jsonl.out", schema={"recordId": pl.String, "modelOutput": output}).select(
        record_id="recordId",
        output_text=answer.field("content").list.get(0).struct.field("text"),
        stop_reason=answer.field("stop_reason"),
        input_tokens=answer.field("usage").struct.field("input_tokens"),
        output_tokens=answer.field("usage").struct.field("output_tokens"),
    ).sink_parquet(out, compression="zstd")


def main() -> None:
    """Run one."""
    peer, task, source, out = sys.argv[1:]
    __import__(peer)  # what is timed is the work
    began = time.perf_counter()
    {
        "pack": {"duckdb": duckdb_pack, "polars": polars_pack},
        "parse": {"duckdb": duckdb_parse, "polars": polars_parse},
    }[task][peer](source, out)
    print(json.dumps({"seconds": time.perf_counter() - began}))  # noqa: T201  # the result


if __name__ == "__main__":
    main()
