"""Feeds a kernel what it should not be fed; run by `test_kernel.py` over one that was built to stop at any slip.

What belongs here: random input. Run as `python fuzz.py KERNEL`.
"""

import random
import sys
from pathlib import Path

import orjson
import pyarrow as pa

from bedrock_pipeline.kernel import ResponseReader, odd_ids, render_lines
from bedrock_pipeline.kernel.library import load
from bedrock_pipeline.models import family_of

ROUNDS = 3300
# Of vectors.
LENGTH = 3
MODELS = (
    "anthropic.claude-3-haiku-20240307-v1:0",
    "mistral.mistral-7b-instruct-v0:2",
    "amazon.nova-lite-v1:0",
)
_BITS = [
    b'"',
    b"\\",
    b"\\u",
    b"\\ud83d",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"null",
    b"1e9",
    b"\x00",
    b"\xff",
    b"-",
]


def line(rng: random.Random) -> bytes:
    """An answer, mostly."""
    text = "".join(rng.choices('ab"\\\n\x00é😀', k=rng.choice([0, 5, 15, 16, 17, 40])))
    block = {"type": "text", "text": text, "stop_reason": "end"}
    tool = {"type": "tool_use", "name": "answer", "input": {text: [{"part": text}, 1.5]}}
    content = rng.choice([block, tool])
    output = {
        "content": [content],
        "outputs": [] if content is tool else [block],  # a tool's answer beside text is none
        "output": {"message": {"content": [{"toolUse": tool} if content is tool else block]}},
        "usage": {"input_tokens": 5, "inputTokens": 10**18},
        "embedding": [rng.choice([rng.random(), rng.random() * 1e300, 0, -7]) for _ in range(LENGTH)],
    }
    return (
        orjson.dumps({"modelInput": {"a": [text, 1.5, None]}, "modelOutput": output, "recordId": text or "r"})
        + b"\n"
    )


def damaged(data: bytes, rng: random.Random) -> bytes:
    """With some bytes removed, repeated or inserted."""
    for _ in range(rng.randint(0, 4)):
        at, size = rng.randrange(len(data) + 1), rng.randint(0, 3)
        data = data[:at] + rng.choice([*_BITS, data[at : at + 20], b""]) + data[at + size :]
    return data


def main() -> None:
    """As many rounds as are wanted; a slip ends the process."""
    rng, kernel = random.Random(5), load(Path(sys.argv[1]))
    readers = []
    for model in MODELS:
        family = family_of(model)
        readers += [ResponseReader(kernel, plain) for plain in (family.plain, family.plain_tool) if plain]
    vectors = family_of("amazon.titan-embed-text-v2:0").plain
    assert vectors is not None
    readers.append(ResponseReader(kernel, vectors, LENGTH))
    plain_lines = 0
    for _ in range(ROUNDS):
        # A buffer of its own exact size, so that a byte beyond it is noticed.
        data = bytearray(damaged(b"".join(line(rng) for _ in range(rng.randint(0, 3))), rng))
        for reader in readers:
            plain_lines += sum(len(found.lines) for *_, found in reader.read(memoryview(data)))
        texts = [rng.choice(["", "a" * rng.randint(0, 40), '"\x00\\' * 20, "é"]) for _ in range(4)]
        column = pa.array(texts, rng.choice([pa.string(), pa.large_string()])).slice(rng.randint(0, 4))
        data_out, ends = render_lines(kernel, [b"<", b"|", b">\n"], [column, column])
        assert len(data_out) == (ends[-1] if len(ends) else 0)
        odd_ids(kernel, column.cast(pa.string()))
    print(plain_lines)  # noqa: T201  # the result


if __name__ == "__main__":
    main()
