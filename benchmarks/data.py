"""Data for the benchmarks: prompts with quotes, newlines and unicode, and the responses to them.

What belongs here: writing the files, the same for the same arguments.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Records of one output file, as a job's.
FILE_RECORDS = 50_000
#: Length of the vectors.
DIMENSION = 1_024
#: Of the responses in structured outputs.
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["good", "bad", "mixed"]},
        "score": {"type": "number"},
        "count": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "summary": {"type": "string"},
    },
    "required": ["label", "score", "count", "tags", "summary"],
    "additionalProperties": False,
}
_BLOCK = 25_000
_ODD = [
    '"quoted"',
    "back\\slash",
    "line\nbreak",
    "tab\tstop",
    "größer",
    "naïve",
    "価格",
    "😀",
    "čeština",
    "Δ",
]
_SENTENCES, _WORDS, _PROMPT = 40_000, 16, 8
# In an input with duplicates: one row of a hundred repeats an earlier text, one of a thousand has no text.
_REPEATED, _REJECTED = 100, 1_000


def write_input(path: Path, records: int, *, duplicates: bool) -> None:
    """Write a parquet file with `id`, `text` and `label`.

    Args:
        path: the file.
        records: number of rows.
        duplicates: whether some rows repeat a text, and some are rejected.
    """
    rng = np.random.default_rng(7)
    sentences = pa.array(_sentences(random.Random(7)))  # noqa: S311  # the same data each time
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, records, _BLOCK):
            numbers = range(start, min(start + _BLOCK, records))
            # In no order, so that the search for duplicate ids has something to do.
            ids = [f"row-{number * 7_919 % 1_000_003:07}-{number}" for number in numbers]
            texts = _texts(sentences, len(numbers), rng)
            if duplicates:
                texts = _with_duplicates(texts)
            writer.write_table(pa.table([ids, texts, list(numbers)], schema=schema))


def _texts(sentences: pa.Array, count: int, rng: np.random.Generator) -> pa.Array:
    chosen = sentences.take(pa.array(rng.integers(0, len(sentences), count * _PROMPT)))
    ends = pa.array(np.arange(0, len(chosen) + 1, _PROMPT), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(ends, chosen), " ")


def _with_duplicates(texts: pa.Array) -> pa.Array:
    rows = np.arange(len(texts))
    rows[_REPEATED::_REPEATED] -= 1
    return texts.take(pa.array(rows, mask=np.arange(len(texts)) % _REJECTED == 0))


def write_outputs(source: Path, folder: Path, kind: str) -> None:
    """Write the output files of the jobs over an input, `00000.jsonl.out` and so on, one for each chunk.

    Args:
        source: an input without duplicates.
        folder: a new folder.
        kind: `text`, `structured` or `embeddings`.
    """
    rng = np.random.default_rng(7)
    line = {"text": _text_line, "structured": _structured_line, "embeddings": _embedding_line}[kind]
    folder.mkdir()
    row = 0
    for batch in pq.ParquetFile(source).iter_batches(_BLOCK):
        ids, texts = batch["id"].to_pylist(), batch["text"].to_pylist()
        with (folder / f"{row // FILE_RECORDS:05}.jsonl.out").open("ab") as file:
            file.writelines(_lines(line, ids, texts, rng))
        row += batch.num_rows


def _lines(
    line: Callable[..., dict[str, Any]], ids: Sequence[str], texts: Sequence[str], rng: np.random.Generator
) -> Sequence[bytes]:
    answers = [texts[number] for number in rng.integers(0, len(texts), len(texts))]
    return [
        orjson.dumps(line(*one, rng), option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"
        for one in zip(ids, texts, answers, strict=True)
    ]


def _text_line(record_id: str, prompt: str, answer: str, _: np.random.Generator) -> dict[str, Any]:
    """A line as Claude's batch jobs write it."""
    content = [{"type": "text", "text": answer}]
    return _claude(record_id, prompt, content, "end_turn", len(answer) // 4)


def _structured_line(record_id: str, prompt: str, answer: str, rng: np.random.Generator) -> dict[str, Any]:
    """A structured response of Claude, as a tool call."""
    given = {
        "label": ("good", "bad", "mixed")[len(answer) % 3],
        "score": round(float(rng.random()), 4),
        "count": len(prompt),
        "tags": answer[:40].split(),
        "summary": answer[:300],
    }
    content = [{"type": "tool_use", "id": f"toolu_{record_id}", "name": "answer", "input": given}]
    return _claude(record_id, prompt, content, "tool_use", 100)


def _embedding_line(record_id: str, prompt: str, _: str, rng: np.random.Generator) -> dict[str, Any]:
    """A line as Titan's batch jobs write it."""
    vector = rng.normal(0, 0.03, DIMENSION).astype(np.float32)
    output = {"embedding": vector, "inputTextTokenCount": len(prompt) // 4}
    body = {"inputText": prompt, "dimensions": DIMENSION}
    return {"modelInput": body, "modelOutput": output, "recordId": record_id}


def _claude(
    record_id: str, prompt: str, content: list[dict[str, Any]], stop_reason: str, written: int
) -> dict[str, Any]:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": [{"type": "text", "text": prompt}]}],
    }
    output = {
        "model": "claude-3-haiku-20240307",
        "id": f"msg_bdrk_{record_id}",
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": len(prompt) // 4, "output_tokens": written},
    }
    return {"modelInput": body, "modelOutput": output, "recordId": record_id}


def _sentences(rng: random.Random) -> list[str]:
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 10))) for _ in range(3_000)]
    weights = [*[30.0] * len(_ODD), *[1.0] * len(words)]
    return [" ".join(rng.choices([*_ODD, *words], weights, k=_WORDS)) for _ in range(_SENTENCES)]
