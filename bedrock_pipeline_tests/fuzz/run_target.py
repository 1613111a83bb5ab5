"""Fuzzes one target, until a promise breaks or the time is over: `python -m …run_target NAME SECONDS FOLDER`.

Guided by coverage through atheris, where it is installed; elsewhere by random changes of the corpus. The last line of
output has the number of runs; what broke a promise lies in FOLDER/found.
"""

import importlib.util
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: Of one input; generous, since the machine may be busy.
_INPUT_SECONDS: Final = 60
_MOST_BYTES: Final = 4096
_MEMORY_MB: Final = 3000


def main(name: str, seconds: int, folder: Path) -> None:
    """Fuzz; an error leaves the process with its traceback."""
    found, seen = folder / "found", folder / "seen"
    for one in (found, seen):
        one.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("atheris"):
        _by_coverage(name, seconds, found, seen)
    else:
        _at_random(name, seconds, found)


def _by_coverage(name: str, seconds: int, found: Path, seen: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["bedrock_pipeline"]):
        from bedrock_pipeline_tests.fuzz.targets import CORPUS, TARGETS, WORDS
    for number, seed in enumerate(TARGETS[name].seeds()):
        (seen / f"seed-{number:03}").write_bytes(seed)
    words = seen.with_name("words")
    words.write_text(
        "".join(f'"{_escaped(word)}"\n' for word in WORDS if len(word) <= 64)
    )  # libFuzzer's longest
    corpus = [str(one) for one in (seen, CORPUS / name) if one.exists()]
    options = {
        "max_total_time": seconds,
        "timeout": _INPUT_SECONDS,
        "rss_limit_mb": _MEMORY_MB,
        "max_len": _MOST_BYTES,
        "dict": words,
        "artifact_prefix": f"{found}/",
        "print_final_stats": 1,
        "verbosity": 1,
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), *corpus], TARGETS[name].run
    )
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return re.sub(r"[^ !#-\[\]-~]", lambda one: f"\\x{ord(one[0]):02x}", word.decode("latin-1"))


def _at_random(name: str, seconds: int, found: Path) -> None:
    from bedrock_pipeline_tests.fuzz.targets import TARGETS, WORDS, entries

    rng = random.Random()
    pool = [*TARGETS[name].seeds(), *(entry.read_bytes() for entry in entries(name))]
    end, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = changed(rng.choice(pool), rng, WORDS)[:_MOST_BYTES]
        (found / "last").write_bytes(data)  # in case the process ends
        _run(TARGETS[name].run, data, found)
        runs += 1
    (found / "last").unlink(missing_ok=True)
    print(f"Done {runs} runs in {seconds} second(s)")  # noqa: T201  # as libFuzzer says it


def _run(target: Callable[[bytes], None], data: bytes, found: Path) -> None:
    try:
        target(data)
    except BaseException:
        (found / "last").rename(found / f"crash-{abs(hash(data)):x}")
        raise


def changed(data: bytes, rng: random.Random, words: tuple[bytes, ...]) -> bytes:
    """With some bytes removed, repeated, changed or inserted."""
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(data) + 1), rng.choice((0, 0, 1, 1, 2, 5, 20))
        new = rng.choice((rng.choice(words), data[at : at + 20] * 2, rng.randbytes(1), b""))
        data = data[:at] + new + data[at + size :]
    return data


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
