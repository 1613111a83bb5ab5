"""The layout: verbs do I/O and nouns are pure, SQL stands in the ledger, and no file is long.

That imports go one way is held by the import contracts in pyproject.toml.
"""

import ast
import tomllib
from pathlib import Path

import pytest

import bedrock_pipeline
from bedrock_pipeline_tests.syntax import parsed

ROOT = Path(bedrock_pipeline.__file__).parent
TESTS = Path(__file__).parent

#: First words of the files that read and write ledger, S3 and Bedrock.
VERBS = {
    "copy",
    "count",
    "collect",
    "estimate",
    "export",
    "invoke",
    "open",
    "pack",
    "poll",
    "publish",
    "read",
    "reconcile",
    "reject",
    "start",
    "submit",
    "take",
    "upload",
    "write",
}
MAX_LINES = 400


def _held_by(contract: str) -> set[str]:
    """The modules that an import contract is about, by the first words of its name."""
    contracts = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    [found] = [one for one in contracts if one["name"].startswith(contract)]
    return set(found["source_modules"])


@pytest.mark.parametrize(
    ("contract", "free"),
    [
        ("Dagster is imported by", {"cli", "definitions", "examples", "orchestration"}),
        ("boto3 is spoken by", {"aws", "emulator", "ledger", "local"}),
    ],
)
def test_no_package_is_forgotten_by_a_contract(contract: str, free: set[str]) -> None:
    packages = {
        path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    held = {f"bedrock_pipeline.{name}" for name in packages - free - {"__init__", "__main__"}}
    assert _held_by(contract) == held


def test_a_file_of_a_step_begins_with_a_verb_or_is_held_to_be_pure() -> None:
    pure = _held_by("Nouns are pure")
    unknown = [
        module
        for step in ("prepare", "submit", "collect", "publish")
        for path in sorted((ROOT / step).glob("*.py"))
        if path.stem != "__init__"
        and path.stem.split("_")[0] not in VERBS
        and (module := f"bedrock_pipeline.{step}.{path.stem}") not in pure
    ]
    assert not unknown, "add these to the contract 'Nouns are pure', or name them by a verb"


def test_sql_stands_in_the_ledger() -> None:
    verbs = ("SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM")
    # Statements for DuckDB, for DataFusion, and for the databases of inputs.
    others = {"duplicates.py", "duplicate_rows.py", "adbc.py", "delta.py", "postgres.py"}
    users = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in {"ledger", "local", "emulator"} and path.name not in others
        for node in ast.walk(parsed(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(verbs)
    }
    assert not users


def test_no_file_is_long() -> None:
    long = {
        str(path.relative_to(folder.parent)): lines
        for folder in (ROOT, TESTS)
        for path in folder.rglob("*.py")
        if (lines := path.read_text().count("\n")) > MAX_LINES
    }
    assert not long
