"""The demo's input: the docstrings of Python's standard library, read with `ast`, without importing anything."""

import ast
import os
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
_NAMED = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
#: Where a statement has further statements.
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")


def docstring_source(_dataset: str) -> ArrowSource:
    """A source with one row for each documented module, class and function."""
    return ArrowSource(_SCHEMA, _batches)


def _batches() -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, str]] = []
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(_modules(root)):
        rows += _documented(path, root)
        while len(rows) >= _BATCH:
            yield pa.RecordBatch.from_pylist(rows[:_BATCH], _SCHEMA)
            rows = rows[_BATCH:]
    yield pa.RecordBatch.from_pylist(rows, _SCHEMA)


def _modules(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = set(folders) - _LEFT_OUT
        yield from (Path(folder, file) for file in files if file.endswith(".py"))


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
    if isinstance(node, _NAMED | ast.Module):
        text = ast.get_docstring(node)
        if text:
            yield name, getattr(node, "lineno", 0), text
    for block in _BLOCKS:  # no expression has a definition in it, and nearly all of a tree are expressions
        for child in getattr(node, block, ()):
            yield from _walk(child, f"{name}.{child.name}" if isinstance(child, _NAMED) else name)
