"""The environment of a process is its user's: the product reads it in few places, and changes it nowhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bedrock_pipeline
from bedrock_pipeline_tests.syntax import parsed

ROOT = Path(bedrock_pipeline.__file__).parent

#: Who may look at `os.environ`: settings, what starts child processes, and what has to do without the settings.
MAY_READ = {
    "connection_strings.py",
    "settings.py",
    "cli/local.py",
    "cli/services.py",
    "emulator/control.py",
    "emulator/server.py",
    "kernel/library.py",
    "local/guarded_webserver.py",
    "orchestration/instance_facts.py",  # Dagster's own variable
    "local/home.py",
    "local/postgres.py",
    "local/stack.py",
    "orchestration/code_server.py",
    "prepare/open_source.py",  # the variable that a query names for its DSN
}
#: libpq reads its variables whatever a connection string says: for the moment of connecting to the embedded stack they are absent.
MAY_CHANGE = {"connection_strings.py"}
_CHANGE = {"clear", "pop", "popitem", "setdefault", "update", "__setitem__", "__delitem__", "__ior__"}


def changes(tree: ast.AST) -> Iterator[int]:
    """Lines on which the environment of the process is changed."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()) if is_environment(value):
                yield node.lineno
            case ast.Attribute(value=value, attr=attr) if is_environment(value) and attr in _CHANGE:
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="os"), attr="putenv" | "unsetenv"):
                yield node.lineno
            case ast.ImportFrom(module="os", names=names) if {"putenv", "unsetenv"} & {n.name for n in names}:
                yield node.lineno
            case ast.AugAssign(target=target) if is_environment(target):
                yield node.lineno
            case ast.Assign(targets=targets) if any(is_environment(target) for target in targets):
                yield node.lineno
            case ast.Delete(targets=targets) if any(is_environment(target) for target in targets):
                yield node.lineno


def is_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb"):
            return True
        case ast.Name(id="environ" | "environb"):
            return True
    return False


@pytest.mark.parametrize(
    "line",
    [
        'os.environ["A"] = "b"',
        'del os.environ["A"]',
        "os.environ.update(a)",
        'os.environ.setdefault("A", "b")',
        'os.environ.pop("A")',
        "change = os.environ.update",
        "os.environ |= a",
        "os.environ = a",
        'os.putenv("A", "b")',
        "from os import putenv",
        'environ["A"] = "b"',
    ],
)
def test_a_change_would_be_seen(line: str) -> None:
    assert list(changes(parsed(line)))


def test_nothing_changes_the_environment_of_its_process() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted(ROOT.rglob("*.py"))
        if str(path.relative_to(ROOT)) not in MAY_CHANGE
        for line in changes(parsed(path.read_text()))
    ]
    assert found == []


def test_it_is_read_in_few_places() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(parsed(path.read_text()))
        if is_environment(node) or (isinstance(node, ast.Attribute) and node.attr == "getenv")
    }
    assert readers <= MAY_READ
