"""Mutation testing: what do the tests not notice? Run as a program by `make mutation`.

Each package is mutated by mutmut, in a copy. A sample of the mutants, drawn by a seed, is run against the tests that
reach them; survivors are printed as diffs, to be read: each gets a test, or a reason. `reports/mutation.json` has the
counts.
"""

import configparser
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

_ROOT = Path(__file__).parents[2]
_COPIED = (
    "bedrock_pipeline",
    "bedrock_pipeline_tests",
    "deploy",
    "docs",
    "sql",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
)
#: Packages, and the packages whose tests are run: those that call it without mocks.
_TESTS = {
    "ledger": (
        *("ledger", "submit", "queue", "retention", "publish/test_publishers.py", "test_due_work.py"),
        *("test_work.py", "cli/test_cancel.py", "cli/test_commands.py", "cli/test_launch.py"),
    ),
    "submit": ("submit", "ledger/test_submissions.py", "ledger/test_incarnations.py"),
    "publish": ("publish", "retention/test_prune.py", "cli/test_commands.py"),
    "collect": ("collect", "kernel"),
    "prepare": (
        *("prepare", "records", "kernel", "prompts", "models/test_parameters.py", "journey/test_images.py"),
        *("submit/test_account_options.py", "sources/test_hugging_face.py", "cli/test_commands.py"),
    ),
    "queue": ("queue",),
    "aws": ("aws", "submit", "doctor", "publish/test_read_rows.py"),
}
#: Not run: they take long, and others notice first.
_SLOW = "bedrock_pipeline_tests/publish/test_any_column.py"
_LEFT_OUT = "not faults and not browser and not end_to_end and not packaging"


def run(package: str, sample: int, seed: int, processes: int, work: Path) -> dict[str, dict[str, str]]:
    """The status of each mutant of a package that was run, by name, and the diff of each that no test noticed.

    Args:
        package: one of `_TESTS`.
        sample: at most this many mutants.
        seed: that draws them.
        processes: at once.
        work: a folder for the copy; what it has from an earlier run is used again.

    Raises:
        subprocess.CalledProcessError: the tests fail without a mutant.
    """
    for name in _COPIED:
        if (_ROOT / name).is_dir():
            shutil.copytree(
                _ROOT / name, work / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(_ROOT / name, work / name)
    settings = configparser.ConfigParser()
    settings["mutmut"] = {
        "source_paths": "bedrock_pipeline",
        "only_mutate": f"bedrock_pipeline/{package}/*",
        "timeout_multiplier": "3",  # for a mutant that never ends
        "timeout_constant": "30",
        "also_copy": "\n".join(["", *_COPIED[1:]]),
        "pytest_add_cli_args": "\n".join(
            ["", "-m", _LEFT_OUT, f"--deselect={_SLOW}", "-p", "no:cacheprovider"]
        ),
        "pytest_add_cli_args_test_selection": "\n".join(
            ["", *(f"bedrock_pipeline_tests/{path}" for path in _TESTS[package])]
        ),
    }
    with (work / "setup.cfg").open("w") as file:
        settings.write(file)
    results = work / "results.json"
    command = (sys.executable, "-m", "bedrock_pipeline_tests.mutation.run_package")
    with (work / "output").open("w") as output:
        subprocess.run(
            [*command, str(sample), str(seed), str(processes), str(results)],
            cwd=work,
            check=True,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    found: dict[str, dict[str, str]] = json.loads(results.read_text())
    return found


@click.command(help=__doc__)
@click.option("--sample", default=200, show_default=True, help="Mutants of a package.")
@click.option("--seed", default=1, show_default=True, help="Which mutants.")
@click.option("--processes", default=2, show_default=True, help="Mutants at once.")
@click.option(
    "--work", type=click.Path(path_type=Path), help="A folder to work in, kept; a temporary one without it."
)
@click.argument("packages", nargs=-1, type=click.Choice(list(_TESTS)))
def main(sample: int, seed: int, processes: int, work: Path | None, packages: tuple[str, ...]) -> None:
    """Run the packages one after the other."""
    report = _ROOT / "reports" / "mutation.json"
    counted: dict[str, dict[str, int]] = json.loads(report.read_text()) if report.exists() else {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        for package in packages or _TESTS:
            folder = (work or Path(temporary)) / package
            folder.mkdir(parents=True, exist_ok=True)
            results = run(package, sample, seed, processes, folder)
            counted[package] = dict(Counter(result["status"] for result in results.values()))
            report.parent.mkdir(exist_ok=True)
            report.write_text(json.dumps(counted, indent=1))
            for name, result in results.items():
                if result["diff"]:
                    click.echo(f"\n# {name}: {result['status']}\n{result['diff']}")
            click.echo(f"{package}: {counted[package]}")


if __name__ == "__main__":
    main()
