"""What the documentation names exists, and what the code names of the documentation."""

import ast
import importlib
import re
import subprocess
from itertools import groupby

from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.docs.pages import ROOT, blocks, pages
from bedrock_pipeline_tests.syntax import parsed

_NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.py|\.sql))`")
_PAGE = re.compile(r"\bdocs/[a-z_/]+\.md\b")
#: Files and folders that exist at run time, or for users.
_ELSEWHERE = {
    "bedrock-jobs/input/",  # a prefix in S3
    "bedrock-jobs/output/",
    "my_pipelines.py",  # what a reader saves
    "packed/",
    "outputs/",
}


def _tracked() -> list[str]:
    return subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_every_file_that_the_documentation_names_exists() -> None:
    places = [f"/{name}" for name in _tracked() if (ROOT / name).exists()]
    missing = {
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages()
        if page.name != "CHANGELOG.md"
        for name in _NAMED.findall(page.read_text(encoding="utf-8"))
        if name not in _ELSEWHERE
        and not any(
            f"/{name}" in place if name.endswith("/") else place.endswith(f"/{name}") for place in places
        )
    }
    assert not missing


def test_database_names_of_the_glossary_exist() -> None:
    schema = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "sql").glob("*.sql")))
    known = set(re.findall(r"[a-z_-]+", schema)) | set(Settings.model_fields)
    rows = re.findall(
        r"^\|.*\|([^|]*)\|$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {name for row in rows for term in re.findall(r"`([^`]+)`", row) for name in term.split(".")}
    assert not named - known
    assert len(named) > 30


def test_every_page_that_the_code_names_exists() -> None:
    missing = {
        f"{name}: {page}"
        for name in _tracked()
        if name.endswith((".py", ".sql", ".toml")) and (ROOT / name).exists()
        for page in _PAGE.findall((ROOT / name).read_text(encoding="utf-8"))
        if not (ROOT / page).exists()
    }
    assert not missing


def test_every_setting_field_option_and_column_is_described() -> None:
    undescribed = [
        f"{page.name}: {line}"
        for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `") and line.endswith("|  |")
    ]
    assert not undescribed


def test_examples_import_what_exists() -> None:
    missing = []
    for block in blocks("python"):
        for node in ast.walk(parsed(block.text)):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.startswith("bedrock_pipeline")
            ):
                module = importlib.import_module(node.module)
                missing += [
                    f"{block.place}: {alias.name}" for alias in node.names if not hasattr(module, alias.name)
                ]
    assert not missing


def test_the_journey_of_a_record_names_functions_and_returns_to_no_package() -> None:
    lines = [
        line.split("|")[2:4]
        for line in (ROOT / "docs" / "journey.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and ".py`" in line
    ]
    packages = []
    for files, functions in lines:
        paths = [ROOT / "bedrock_pipeline" / name for name in re.findall(r"`([^`]+)`", files)]
        code = "".join(path.read_text(encoding="utf-8") for path in paths)
        for function in re.findall(r"`([^`]+)`", functions):
            assert f"def {function}(" in code, f"{function} is not in {files}"
        packages += [path.relative_to(ROOT / "bedrock_pipeline").parts[0] for path in paths]
    assert [package for package, _ in groupby(packages)] == [
        "sources",
        "prepare",
        "submit",
        "collect",
        "publish",
    ]
