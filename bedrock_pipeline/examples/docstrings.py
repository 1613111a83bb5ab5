"""The demo's input: the docstrings of Python's standard library, read with `ast`, without importing anything."""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from bedrock_pipeline.sources import ArrowSource

_SCHEMA = pa.schema(
    [("id", pa.string()), ("module", pa.string()), ("object", pa.string()), ("docstring", pa.string())]
)
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}
_BATCH = 500


def docstring_source(_dataset: str) -> ArrowSource:
    """A source with one row for each documented module, class and function."""
    return ArrowSource(_SCHEMA, _batches)


def _batches() -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, str]] = []
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if _LEFT_OUT.isdisjoint(path.relative_to(root).parts):
            rows += _documented(path, root)
        while len(rows) >= _BATCH:
            yield pa.RecordBatch.from_pylist(rows[:_BATCH], _SCHEMA)
            rows = rows[_BATCH:]
    yield pa.RecordBatch.from_pylist(rows, _SCHEMA)


def _documented(path: Path, root: Path) -> list[dict[str, str]]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []  # a template that is not a module
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    return [
        {"id": f"{module}:{name}@{line}", "module": module, "object": name, "docstring": text}
        for name, line, text in _walk(tree, module.rpartition(".")[2])
    ]


def _walk(node: ast.AST, name: str) -> Iterator[tuple[str, int, str]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield name, getattr(node, "lineno", 0), text
    for child in ast.iter_child_nodes(node):
        inner = getattr(child, "name", None)
        is_named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _walk(child, f"{name}.{inner}" if is_named else name)
