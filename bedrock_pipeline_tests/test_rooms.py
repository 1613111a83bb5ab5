"""The rooms: imports go one way, and what belongs to one room alone stays there."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bedrock_pipeline

ROOT = Path(bedrock_pipeline.__file__).parent

#: What each room may import of the others; `errors` is everybody's but the emulator's.
MAY_IMPORT = {
    "errors": set(),
    "settings": {"local"},
    "kernel": {"models"},
    "records": {"kernel", "models", "intake"},
    "models": {"settings", "records"},
    "intake": {"records"},
    "pipeline": {"settings", "records", "models", "intake"},
    "ledger": {"settings", "records", "models"},
    "aws": {"settings", "records"},
    "stages": {"settings", "pipeline", "records", "models", "intake", "ledger", "aws"},
    "queue": {"settings", "pipeline", "records", "models", "ledger", "aws", "stages", "local"},
    "local": {"emulator"},
    "emulator": set(),
    "orchestration": {
        "settings",
        "pipeline",
        "records",
        "models",
        "intake",
        "ledger",
        "aws",
        "stages",
        "local",
    },
    "examples": {"pipeline", "records", "orchestration", "intake", "settings"},
    "definitions": {"examples", "orchestration", "pipeline"},
    "cli": {
        "settings",
        "pipeline",
        "records",
        "models",
        "ledger",
        "aws",
        "stages",
        "queue",
        "local",
        "emulator",
        "orchestration",
        "examples",
        "intake",
        "kernel",
    },
    "__main__": {"cli"},
}
#: Where a library may be imported.
ONLY_IN = {
    "dagster": {"orchestration", "definitions", "examples"},
    "dagster_aws": {"orchestration"},
    "boto3": {"aws", "local", "emulator"},
    "botocore": {"aws", "local", "emulator"},
    "psycopg": {"ledger", "local", "settings"},
    "pickle": set(),
}


def imports() -> Iterator[tuple[str, str, str]]:
    """Room, module imported and place, of each import in the package."""
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                yield from ((room, alias.name, place) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield room, node.module, place


def test_rooms_import_only_what_lies_below_them() -> None:
    wrong = []
    for room, module, place in imports():
        parts = module.split(".")
        if parts[0] != "bedrock_pipeline" or len(parts) == 1 or parts[1] == room:
            continue
        allowed = MAY_IMPORT[room] | (set() if room == "emulator" else {"errors"})
        if parts[1] not in allowed:
            wrong.append(f"{place} imports {module}")
    assert not wrong


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_rooms(library: str) -> None:
    users = {
        f"{place}"
        for room, module, place in imports()
        if module.split(".")[0] == library and room not in ONLY_IN[library]
    }
    assert not users


def test_sql_stands_in_the_ledger() -> None:
    verbs = ("SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM")
    users = set()
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0]
        if room in {"ledger", "local", "emulator"} or path.name in (
            "duplicates.py",
            "followers.py",
        ):  # the latter speak to DuckDB
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and node.value.startswith(verbs)
            ):
                users.add(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not users
