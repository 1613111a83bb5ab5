"""The mutants of one package, in the current folder, which is a copy of the project.

A process of its own, as mutmut reads its configuration once in a process.
"""

import json
import random
import sys
from pathlib import Path

from mutmut.__main__ import _run, collect_source_file_mutation_data, create_mutants
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths

from bedrock_pipeline_tests.mutation import operators

#: "suspicious" is not among them: so is a run that could not begin.
_NOTICED = {"killed", "timeout", "segfault", "caught by type check"}


def main(sample: int, seed: int, processes: int, results: Path) -> None:
    """Make the mutants, run a sample of them, and write their status to `results`."""
    operators.use()
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(processes)
    names = sorted(name for _, name, _ in collect_source_file_mutation_data(mutant_names=())[0])
    drawn = sorted(random.Random(seed).sample(names, min(sample, len(names))))
    print(f"{len(drawn)} of {len(names)} mutants", flush=True)  # noqa: T201
    _run(drawn, processes)
    found = {
        name: {
            "status": (status := status_by_exit_code[code]),
            "diff": "" if status in _NOTICED else get_diff_for_mutant(name),
        }
        for _, name, code in collect_source_file_mutation_data(mutant_names=drawn)[0]
    }
    results.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
