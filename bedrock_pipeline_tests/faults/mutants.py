"""Take one safeguard out at a time: a named test must fail on its assertion. Run as a program by `make test-mutants`.

What belongs here: the safeguards, as text that is replaced in a copy of the package, and the test of each.
"""

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

_ROOT = Path(__file__).parents[2]
#: Each starts a Postgres, an S3 and an emulator of its own.
_AT_ONCE = 2
_COPIED = ("bedrock_pipeline", "bedrock_pipeline_tests", "sql", "pyproject.toml")
_LEDGER, _SPENDING, _GUARDS = (
    "bedrock_pipeline_tests/ledger/test_submissions.py",
    "bedrock_pipeline_tests/ledger/test_spending.py",
    "bedrock_pipeline_tests/submit/test_guards.py",
)


@dataclass(frozen=True)
class Mutant:
    """A safeguard that is taken out.

    Attributes:
        replaced: each text, which must be there, and what stands in its place.
        test: the test that must fail.
    """

    name: str
    file: str
    replaced: dict[str, str]
    test: str


MUTANTS = (
    Mutant(
        "the fence",
        "bedrock_pipeline/ledger/submissions.py",
        {
            "WHERE chunk_id = %(chunk)s AND fence = %(fence)s\n                     AND status IN ('submitting', 'in-doubt', 'needs-resolution')": "WHERE chunk_id = %(chunk)s\n                     AND status IN ('submitting', 'in-doubt', 'needs-resolution')"
        },
        f"{_LEDGER}::test_the_token_stays_when_sent_again_and_a_sleeper_changes_nothing",
    ),
    Mutant(
        "the lock",
        "bedrock_pipeline/ledger/quota_groups.py",
        {"WHERE c.chunk_id = %s FOR UPDATE OF g": "WHERE c.chunk_id = %s"},
        f"{_LEDGER}::test_racing_threads_never_take_more_slots_than_there_are",
    ),
    Mutant(
        "the List",
        "bedrock_pipeline/submit/submit_chunk.py",
        # Before a Create, and after the conflict that it meets otherwise.
        {
            "    if found.jobs:\n": "    if False:\n",
            "bedrock.find(intent.chunk.chunk_id).jobs or [": "[] or [",
        },
        f"{_GUARDS}::test_a_job_of_this_name_that_the_ledger_forgot_is_not_bought_again",
    ),
    Mutant(
        "the lease check",
        "bedrock_pipeline/aws/jobs.py",
        {"if self._monotonic() >= self._sending.deadline:": "if False:"},
        f"{_GUARDS}::test_nothing_is_sent_when_the_lease_is_over",
    ),
    Mutant(
        "the consistency window",
        "bedrock_pipeline/ledger/submissions.py",
        {
            "lease_expires_at + %s <= ": "lease_expires_at + %s * 0 <= ",
            "lease_expires_at + %(consistency_window)s <= ": "lease_expires_at + %(consistency_window)s * 0 <= ",
        },
        f"{_GUARDS}::test_a_submission_in_doubt_is_left_alone_until_list_can_be_believed",
    ),
    Mutant(
        "the v4 signature",
        "bedrock_pipeline/aws/clients.py",
        {'            signature_version="v4",\n': ""},
        f"{_GUARDS}::test_a_create_is_signed_with_version_4_even_where_a_bearer_token_is_set",
    ),
    Mutant(
        "the lock of the budget",
        "bedrock_pipeline/ledger/spending.py",
        {"v.max_cost_usd IS NOT NULL FOR NO KEY UPDATE OF d": "v.max_cost_usd IS NOT NULL"},
        f"{_SPENDING}::test_racing_threads_never_commit_more_than_the_cap",
    ),
)


def survives(mutant: Mutant) -> str | None:
    """Why the mutant is not caught; None where its test fails on an assertion."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in _COPIED:
            source = _ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        path = copy / mutant.file
        text = path.read_text()
        for before, after in mutant.replaced.items():
            if before not in text:
                return f"{before!r} is not in {mutant.file} any more"
            text = text.replace(before, after)
        path.write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", mutant.test],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return "its test passes"
    return (
        None if "\nE       assert" in done.stdout or "AssertionError" in done.stdout else done.stdout[-2000:]
    )


def main() -> int:
    """0 where every mutant is caught."""
    alive = 0
    with ThreadPoolExecutor(_AT_ONCE) as several:
        for mutant, why in zip(MUTANTS, several.map(survives, MUTANTS), strict=True):
            alive += why is not None
            click.echo(f"without {mutant.name}: {'caught' if why is None else 'NOT CAUGHT, ' + why}")
    click.echo(f"mutants {len(MUTANTS)}, caught {len(MUTANTS) - alive}")
    return min(alive, 1)


if __name__ == "__main__":
    sys.exit(main())
