"""What the documentation names exists."""

import re
import subprocess

from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.docs.pages import ROOT, pages

_NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.py|\.sql))`")
#: Folders that exist at run time, or for users.
_ELSEWHERE = {"packed/", "outputs/"}


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
