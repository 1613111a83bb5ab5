"""`bedrock_pipeline.__all__`: every name is there, is documented, and says what it raises."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

import pydantic
import pytest

import bedrock_pipeline
from bedrock_pipeline import BedrockPipelineError
from bedrock_pipeline_tests.syntax import parsed

ROOT = Path(bedrock_pipeline.__file__)
PUBLIC = {name: getattr(bedrock_pipeline, name) for name in bedrock_pipeline.__all__}
DOCS = [ROOT.parents[1] / "README.md", *sorted((ROOT.parents[1] / "docs").glob("*.md"))]


def functions(name: str) -> Iterator[tuple[str, object, str]]:
    """Each public function of a public name, with the docstring that has to say what it raises."""
    public = PUBLIC[name]
    if not inspect.isclass(public):
        yield name, public, public.__doc__ or ""
        return
    for attribute, value in vars(public).items():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if not inspect.isfunction(function) or function.__module__ != public.__module__:
            continue
        if attribute == "__init__":
            yield f"{name}.__init__", function, public.__doc__ or ""
        elif not attribute.startswith("_") and attribute not in vars(pydantic.BaseModel):
            yield f"{name}.{attribute}", function, function.__doc__ or ""


def raised_by(function: object) -> set[str]:
    """Names of the exceptions that a function raises itself."""
    try:
        source = inspect.getsource(function)  # type: ignore[arg-type]  # a function, as `functions` gives it
    except OSError:  # made by a library: a dataclass's or a protocol's
        return set()
    found = set()
    for node in ast.walk(parsed(textwrap.dedent(source))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(kind).rsplit(".")[-1]
            made_by = getattr(sys.modules[function.__module__], name, None)
            if inspect.isfunction(
                made_by
            ):  # a function that makes the exception says which in its annotation
                name = made_by.__annotations__["return"].__name__
            found.add(name)
    return found


def validates(public: object) -> bool:
    """Whether it is a pydantic model with validators of its own, which raise ValueError."""
    if not (inspect.isclass(public) and issubclass(public, pydantic.BaseModel)):
        return False
    own = [getattr(value, "wrapped", value) for value in vars(public).values()]
    return any("ValueError" in raised_by(value) for value in own if inspect.isfunction(value))


def section(docstring: str) -> str:
    """What follows `Raises:`."""
    return docstring.partition("Raises:")[2]


def test_what_the_interpreter_imports_is_what_type_checkers_see() -> None:
    tree = parsed(ROOT.read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bedrock_pipeline")
        for alias in node.names
    }
    assert seen == bedrock_pipeline._MODULES
    assert set(bedrock_pipeline.__all__) == set(seen)
    assert len(set(bedrock_pipeline.__all__)) == len(bedrock_pipeline.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_imported_and_documented(name: str) -> None:
    assert not name.startswith("_")
    assert PUBLIC[name] is getattr(import_module(bedrock_pipeline._MODULES[name]), name)
    assert inspect.isclass(PUBLIC[name]) or inspect.isfunction(PUBLIC[name])
    assert "__doc__" in vars(PUBLIC[name]) or inspect.isfunction(PUBLIC[name]), "its docstring is inherited"
    assert (PUBLIC[name].__doc__ or "").strip()
    if name.endswith("Error") and name != "TaskError":
        assert issubclass(PUBLIC[name], BedrockPipelineError)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_raises(name: str) -> None:
    for place, function, docstring in functions(name):
        assert docstring.strip(), place
        missing = {kind for kind in raised_by(function) if not re.search(rf"\b{kind}\b", section(docstring))}
        assert not missing, f"{place} raises {missing}, and its docstring does not say so"


@pytest.mark.parametrize("name", [name for name in PUBLIC if validates(PUBLIC[name])])
def test_a_model_that_validates_says_so(name: str) -> None:
    assert re.search("pydantic.ValidationError|ConfigurationError", section(PUBLIC[name].__doc__))


def test_errors_that_docstrings_name_are_public() -> None:
    named = {
        match
        for name in PUBLIC
        for _, _, docstring in functions(name)
        for match in re.findall(r"\b[A-Z]\w+Error\b", section(docstring))
    }
    builtin = {"ValueError", "TypeError", "ValidationError"}
    assert len(named) > 10
    assert named - set(PUBLIC) <= builtin


def test_what_the_documentation_imports_exists() -> None:
    imports = [
        (module, name.strip())
        for page in DOCS
        for module, names in re.findall(
            r"^from (bedrock_pipeline\S*) import ([\w, ]+)$", page.read_text(), re.M
        )
        for name in names.split(",")
    ]
    assert imports
    for module, name in imports:
        assert hasattr(import_module(module), name), f"{module}.{name}"


def test_star_import_and_dir_and_unknown_names() -> None:
    names: dict[str, object] = {}
    exec("from bedrock_pipeline import *", names)  # noqa: S102  # what a user may write
    assert {name for name in names if not name.startswith("__")} == set(PUBLIC)
    assert set(PUBLIC) <= set(dir(bedrock_pipeline))
    with pytest.raises(AttributeError, match=r"has no attribute 'Missing'"):
        bedrock_pipeline.Missing  # type: ignore[attr-defined]  # noqa: B018


def test_the_version_is_the_distribution_s() -> None:
    assert metadata.version("bedrock-pipeline") == bedrock_pipeline.__version__
