"""The mutants of one package, in the current folder, which is a copy of the project.

A process of its own, as mutmut reads its configuration once in a process. Mutmut makes the mutants and notes which tests
reach which function; each mutant is then run by a pytest of its own, as a second run in a process that has imported the
tests is not the same.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from mutmut.__main__ import collect_or_load_stats, collect_source_file_mutation_data, create_mutants
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.state import state
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths
from mutmut.utils.format_utils import mangled_name_from_mutant_name
from mutmut.workers.isolation import get_mutant_runner

from bedrock_pipeline_tests.mutation import operators

#: Seconds of tests that a mutant is run against, the quickest first; one that only others would notice counts as survived.
_MOST_SECONDS: Final = 60.0
#: Tests failed, or could not be collected, or pytest itself broke: without the mutant all of that is well.
_NOTICED: Final = {1, 2, 3}


def main(sample: int, seed: int, processes: int, results: Path) -> None:
    """Make the mutants, run a sample of them, and write their status to `results`.

    Raises:
        SystemExit: the tests fail without a mutant.
    """
    operators.use()
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(processes)
    names = sorted(name for _, name, _ in collect_source_file_mutation_data(mutant_names=())[0])
    drawn = sorted(random.Random(seed).sample(names, min(sample, len(names))))
    _say(f"{len(drawn)} of {len(names)} mutants")
    collect_or_load_stats(get_mutant_runner(processes))
    tests = {name: _tests_of(name) for name in drawn}
    used = sorted(set().union(*tests.values()))
    _say(f"{len(used)} tests without a mutant")
    code = _pytest("", [*used, "-n", str(processes)], timeout_s=3600)
    if code:
        sys.exit(f"The tests fail without a mutant (pytest ends with {code}): see mutants/pytest-.txt.")
    found = dict[str, dict[str, str]]()
    with ThreadPoolExecutor(processes) as pool:
        running = {pool.submit(_status, name, tests[name]): name for name in drawn}
        for done in as_completed(running):
            name, status = running[done], done.result()
            diff = "" if status in ("killed", "timeout") else get_diff_for_mutant(name)
            found[name] = {"status": status, "diff": diff}
            results.write_text(json.dumps(found, indent=1))
            _say(f"{len(found)} {name} {status}")


def _tests_of(name: str) -> list[str]:
    """The tests that reach a mutant, the quickest first."""
    took = state().duration_by_test
    reaching = state().tests_by_mangled_function_name.get(mangled_name_from_mutant_name(name), set())
    return _within(sorted(reaching, key=lambda test: (took[test], test)), took, _MOST_SECONDS)


def _within(tests: Iterable[str], took: dict[str, float], most_seconds: float) -> list[str]:
    """The first tests, as many as take `most_seconds` together; at least one."""
    chosen, seconds = list[str](), 0.0
    for test in tests:
        seconds += took[test]
        if chosen and seconds > most_seconds:
            break
        chosen.append(test)
    return chosen


def _status(name: str, tests: Collection[str]) -> str:
    if not tests:
        return "no tests"
    code = _pytest(name, [*tests, "-x"], timeout_s=10 * _MOST_SECONDS)
    if code is None:
        return "timeout"
    if code == 0:
        return "survived"
    return "killed" if code in _NOTICED else f"not judged: pytest ends with {code}"


def _pytest(mutant: str, arguments: Collection[str], timeout_s: float) -> int | None:
    """How pytest ends with this mutant; None if it does not in time."""
    command = [
        sys.executable,
        *["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
        *arguments,
    ]
    with (Path("mutants") / f"pytest-{mutant}.txt").open("w") as output:
        try:
            return subprocess.run(
                command,
                cwd="mutants",
                env={**os.environ, "MUTANT_UNDER_TEST": mutant},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return None


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
