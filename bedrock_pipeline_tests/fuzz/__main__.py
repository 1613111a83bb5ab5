"""`python -m bedrock_pipeline_tests.fuzz --seconds 300 [TARGET …]`: each target for so long; prints what it came to."""

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bedrock_pipeline_tests.fuzz.targets import TARGETS

REPORTS: Final = Path("reports/fuzz")


@dataclass(frozen=True)
class Fuzzed:
    """What a target came to.

    Attributes:
        found: the files that break a promise.
        output: of the process.
    """

    runs: int
    seconds: float
    found: list[Path]
    output: str
    code: int


def fuzz(name: str, seconds: int, folder: Path) -> Fuzzed:
    """Fuzz a target in a process of its own; what it found before is run first."""
    command = [
        sys.executable,
        "-m",
        "bedrock_pipeline_tests.fuzz.run_target",
        name,
        str(seconds),
        str(folder),
    ]
    begun = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode(errors="replace")
    counts = re.findall(r"Done (\d+) runs|number_of_executed_units: (\d+)|^#(\d+)\t", output, re.MULTILINE)
    runs = max((int(number) for match in counts for number in match if number), default=0)
    return Fuzzed(
        runs, time.monotonic() - begun, sorted((folder / "found").glob("*")), output, done.returncode
    )


def main() -> int:
    """Fuzz the targets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    code = 0
    for name in options.targets or TARGETS:
        one = fuzz(name, options.seconds, REPORTS / name)
        if one.code:
            print(one.output[-6000:])  # noqa: T201  # the traceback
            code = 1
        print(f"{name:12} {one.runs:8} runs {one.seconds:6.0f} s  {len(one.found)} found", flush=True)  # noqa: T201
        for path in one.found:
            print(f"  {path}: fix it, and keep it in bedrock_pipeline_tests/fuzz/corpus/{name}")  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main())
