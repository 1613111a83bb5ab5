"""Reintroduce one fixed defect at a time: the simulation must find it. Run as a program by `make simulate-roots`.

What belongs here: the roots, as text that is replaced in a copy of the package, and which promise each breaks.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

_ROOT = Path(__file__).parents[2]
_COPIED = ("bedrock_pipeline", "bedrock_pipeline_tests", "sql", "pyproject.toml")
ONE_JOB: Final = "at most one job per chunk"
SLOTS: Final = "never more jobs in flight than the limit"
WITHDRAWN: Final = "nothing is bought of what was replaced or cancelled"
ROWS: Final = "each record once, with the answer to its request"
FROZEN: Final = "published versions never change"
ENDS: Final = "each launch ends"
READ: Final = "what was paid for is read"
LOST: Final = "no job is lost"
CAP: Final = "a cost cap holds"
TASKS: Final = "each task ends"
TWICE: Final = "no task is bought twice"
ERRORS: Final = "only expected errors"


@dataclass(frozen=True)
class Root:
    """A defect that was fixed.

    Attributes:
        replaced: each text, which must be there, and what stood in its place, by file.
        breaks: the promises of which it breaks one.
    """

    name: str
    replaced: dict[str, dict[str, str]]
    breaks: tuple[str, ...]


_SUBMISSIONS, _SUBMIT = "bedrock_pipeline/ledger/submissions.py", "bedrock_pipeline/submit/submit_chunk.py"
_VERSIONS = "bedrock_pipeline/ledger/versions.py"
#: What was built behind other safeguards since: a pending chunk of a replaced version is not submitted, whoever has entered it.
#: Behind it the database rejects the submission, which is an internal error.
_REPLACED_IS_DUE: Final = {
    _SUBMISSIONS: {
        'if chunk.row.status == "pending" and is_withdrawn(': 'if chunk.row.cancel_requested_at and chunk.row.status == "pending" and is_withdrawn('
    }
}
ROOTS = (
    Root(
        "H1: a submission in doubt is closed by an error of its look-up",
        {_SUBMIT: {"    if intent.resent:\n        return _mark_in_doubt(deployment, intent, reason)\n": ""}},
        (ONE_JOB, SLOTS, LOST),
    ),
    Root(
        "H3, H12: publishers share a folder",
        {"bedrock_pipeline/publish/publish_dataset.py": {"-{deployment.system.new_id().hex}/": "/"}},
        (FROZEN, ROWS),
    ),
    Root(
        "H4: a run ends whatever launch there is",
        {
            _VERSIONS: {
                'AND launch_id IS NOT DISTINCT FROM %s""",': 'AND (launch_id IS NOT DISTINCT FROM %s OR true)""",'
            }
        },
        (ENDS,),
    ),
    Root(
        "H5: a run works on whatever version is current",
        {_VERSIONS: {"    if row.version != begun.version:\n": "    if False:\n"}},
        (ROWS, ENDS, ERRORS),
    ),
    Root(
        "H6: chunks are packed by the code of the moment",
        {
            "bedrock_pipeline/prepare/pack_dataset.py": {
                "effective = pipeline_of(deployment.ledger, row.settings_digest, pipeline, row)": "effective = pipeline.for_dataset(row.request)"
            }
        },
        (ROWS, ENDS, ERRORS),
    ),
    Root(
        "H7: responses are judged by the code of the moment",
        {
            "bedrock_pipeline/collect/collect_chunk.py": {
                "    return thaw(settings, code, validates=not by_schema_only)\n": "    return code\n"
            }
        },
        (READ,),
    ),
    Root(
        "H9: only the jobs of pipelines that the code has are polled",
        {
            "bedrock_pipeline/ledger/jobs.py": {
                "WHERE status <> 'pending' AND ended_at IS NULL AND job_arn IS NOT NULL\n               ORDER BY submitted_at": "WHERE status <> 'pending' AND ended_at IS NULL AND job_arn IS NOT NULL AND pipeline = 'p'\n               ORDER BY submitted_at"
            }
        },
        (LOST, ENDS),
    ),
    Root(
        "H10: what the SDK says of an invalid body ends the run",
        {
            "bedrock_pipeline/aws/runtime.py": {
                "        parameters = _converse_parameters(model_id, body) if converse else {}\n": "",
                "self._client.converse(**parameters)": "self._client.converse(modelId=model_id, **orjson.loads(body))",
            }
        },
        (ERRORS,),
    ),
    Root(
        "H11: retry takes the chunks of every version",
        {
            "bedrock_pipeline/ledger/interventions.py": {
                "AND dataset_version = %s AND status = 'failed'": "AND (dataset_version = %s OR true) AND status = 'failed'"
            },
            **_REPLACED_IS_DUE,
        },
        (WITHDRAWN, ERRORS),
    ),
    Root(
        "H11: a retry round of a replaced version is entered",
        {
            "bedrock_pipeline/ledger/retry_rounds.py": {"if not _is_as_read(read, row):": "if False:"},
            **_REPLACED_IS_DUE,
        },
        (WITHDRAWN, ERRORS),
    ),
    Root(
        "H11: a submission in doubt of a replaced version is sent again",
        {
            _SUBMISSIONS: {
                "bedrock_pipeline.withdrawn(c) AS withdrawn": "c.cancel_requested_at IS NOT NULL AS withdrawn"
            }
        },
        (WITHDRAWN,),
    ),
    Root(
        "no lock of the quota group",
        {
            "bedrock_pipeline/ledger/quota_groups.py": {
                "WHERE c.chunk_id = %s FOR UPDATE OF g": "WHERE c.chunk_id = %s"
            }
        },
        (SLOTS,),
    ),
    Root(
        "no fence",
        {
            _SUBMISSIONS: {
                "WHERE chunk_id = %(chunk)s AND fence = %(fence)s\n                     AND status IN ('submitting', 'in-doubt', 'needs-resolution')": "WHERE chunk_id = %(chunk)s\n                     AND status IN ('submitting', 'in-doubt', 'needs-resolution')",
                "chunk.row.fence != fence or ": "",
            }
        },
        (ONE_JOB, SLOTS, LOST),
    ),
    Root(
        "no List before a Create",
        {_SUBMIT: {"    if found.jobs:\n": "    if False:\n"}},
        (ONE_JOB, LOST),
    ),
    Root(
        "no look at the lease",
        {"bedrock_pipeline/aws/jobs.py": {"if self._monotonic() >= self._sending.deadline:": "if False:"}},
        (ONE_JOB, SLOTS, LOST),
    ),
    Root(
        "no consistency window",
        {
            _SUBMISSIONS: {
                "lease_expires_at + %s <= ": "lease_expires_at + %s * 0 <= ",
                "lease_expires_at + %(consistency_window)s <= ": "lease_expires_at + %(consistency_window)s * 0 <= ",
            }
        },
        (ONE_JOB, SLOTS, LOST),
    ),
    Root(
        "tasks may be flushed twice",
        {
            "bedrock_pipeline/ledger/queues.py": {
                "            if gone.rowcount != len(task_ids):\n": "            if False:\n"
            }
        },
        (TASKS, TWICE),
    ),
    Root(
        "a task is added again after a lost acknowledgement",
        {"bedrock_pipeline/ledger/database.py": {"            if new.rowcount:\n": "            if True:\n"}},
        (TASKS, ENDS),
    ),
    Root(
        "no lock of the budget",
        {
            "bedrock_pipeline/ledger/spending.py": {
                "v.max_cost_usd IS NOT NULL FOR NO KEY UPDATE OF d": "v.max_cost_usd IS NOT NULL"
            }
        },
        (CAP,),
    ),
)


def copied(root: Root, folder: Path) -> None:
    """Copy the package into a folder, with the root in it.

    Raises:
        click.ClickException: its text is not there any more.
    """
    for name in _COPIED:
        source = _ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    for file, replaced in root.replaced.items():
        path = folder / file
        text = path.read_text()
        for before, after in replaced.items():
            if before not in text:
                raise click.ClickException(f"{root.name}: {before!r} is not in {file} any more")
            text = text.replace(before, after)
        path.write_text(text)


def found(root: Root, seeds: int, steps: int, first: int, processes: int) -> str:
    """Simulate until the root is found; the row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copied(root, folder)
        command = [sys.executable, "-m", "bedrock_pipeline_tests.simulation", "--shrink", "0"]
        command += ["--seeds", str(seeds), "--steps", str(steps), "--first", str(first)]
        command += ["--processes", str(processes)]
        for promise in root.breaks:
            command += ["--until", promise]
        began = time.monotonic()
        ended = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.monotonic() - began
    until = [line for line in ended.stdout.splitlines() if line.startswith("until: ")]
    if not until:
        return f"| {root.name} | not found | {took:.0f} s | {(ended.stdout + ended.stderr)[-300:]!r} |"
    return f"| {root.name} | {until[0].removeprefix('until: ')} | {took:.0f} s |"


@click.command()
@click.option("--seeds", default=300, show_default=True)
@click.option("--steps", default=200, show_default=True)
@click.option("--first", default=0, show_default=True)
@click.option("--processes", default=2, show_default=True, help="Seeds at once.")
@click.option("--only", default="", help="Roots whose name contains this.")
def main(*, seeds: int, steps: int, first: int, processes: int, only: str) -> None:
    """Reintroduce each root, and report after how many seeds it is found; ends with 1 where one is not."""
    rows = []
    for root in ROOTS:
        if only in root.name:
            rows.append(found(root, seeds, steps, first, processes))
            click.echo(rows[-1])
    sys.exit(any("not found" in row for row in rows))


if __name__ == "__main__":
    main()
