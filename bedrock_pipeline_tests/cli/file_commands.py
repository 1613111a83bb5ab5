"""What the tests of `pack` and `parse` share."""

import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from bedrock_pipeline.cli.main import cli

HAIKU_45 = "anthropic.claude-haiku-4-5-20251001-v1:0"


MODEL = "anthropic.claude-3-haiku-20240307-v1:0"


LINE = b'{"recordId":"r0","modelOutput":{"content":[{"type":"text","text":"a"}]}}\n'


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def summary(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert found.pop("seconds") > 0
    assert found.pop("peak_bytes") > 10_000_000
    return found


def inputs(folder: Path, ids: list[str | None]) -> Path:
    path = folder / "in.parquet"
    texts = [f'say "{number}"\n' for number in range(len(ids))]
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), "text": texts, "n": range(len(ids))}), path)
    return path


def packed(source: Path, out: str, *options: str) -> Result:
    return run(
        *("pack", str(source), "--model", MODEL, "--prompt", "Please: {{ text }}", "--record-id", "id"),
        *("--carry", "n", "--min-records", "10", "--max-records", "50", "--out", out, "--json", *options),
    )


def output(record_id: str, number: int) -> bytes:
    answer = {
        "content": [{"type": "text", "text": f"answer {number}"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    return orjson.dumps({"modelInput": {}, "modelOutput": answer, "recordId": record_id}) + b"\n"


def failure(record_id: str) -> bytes:
    return orjson.dumps({"recordId": record_id, "error": {"errorCode": 400, "errorMessage": "no"}}) + b"\n"
