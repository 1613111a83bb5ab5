"""Data for the benchmarks: prompts with quotes, newlines and unicode, and the answers to them.

What belongs here: writing the files, the same for the same number of records.
"""

import random
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

#: Records of one output file, as a job's.
FILE_RECORDS = 50_000
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


def write_data(folder: Path, records: int) -> tuple[Path, Path]:
    """Write the input and a folder of output files.

    Args:
        folder: where to.
        records: how many.

    Returns:
        A parquet file with `id`, `text` and `label`; and a folder with `*.jsonl.out`.
    """
    rng = random.Random(7)  # noqa: S311  # the same data each time
    sentences = _sentences(rng)
    source, outputs = folder / f"input-{records}.parquet", folder / f"output-{records}"
    outputs.mkdir()
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.int64())])
    with pq.ParquetWriter(source, schema) as writer:
        for start in range(0, records, _BLOCK):
            numbers = range(start, min(start + _BLOCK, records))
            # In no order, so that the search for duplicate ids has something to do.
            ids = [f"row-{number * 7_919 % 1_000_003:07}-{number}" for number in numbers]
            texts = [" ".join(rng.choices(sentences, k=_PROMPT)) for _ in numbers]
            writer.write_table(pa.table([ids, texts, list(numbers)], schema=schema))
            answers = [texts[rng.randrange(len(texts))] for _ in texts]
            with (outputs / f"{start // FILE_RECORDS:05}.jsonl.out").open("ab") as file:
                file.writelines(map(_line, ids, texts, answers))
    return source, outputs


def _sentences(rng: random.Random) -> list[str]:
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 10))) for _ in range(3_000)]
    weights = [*[30.0] * len(_ODD), *[1.0] * len(words)]
    return [" ".join(rng.choices([*_ODD, *words], weights, k=_WORDS)) for _ in range(_SENTENCES)]


def _line(record_id: str, prompt: str, answer: str) -> bytes:
    """A line as Claude's batch jobs write it."""
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
        "content": [{"type": "text", "text": answer}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": len(prompt) // 4, "output_tokens": len(answer) // 4},
    }
    return orjson.dumps({"modelInput": body, "modelOutput": output, "recordId": record_id}) + b"\n"
