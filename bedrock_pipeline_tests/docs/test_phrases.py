"""The checker of phrases finds what people read, wherever it stands, and nothing else."""

import pytest

from bedrock_pipeline_tests.docs.phrases import files, hits

CASES = [
    ("a.md", "The chunk is put\nback for now.", [(1, "put back")]),
    ("a.md", "`put_back_reason` says why", [(1, "put back")]),
    ("a.sql", "SELECT epoch\n-- its offer\nFROM x", [(1, "epoch"), (2, "offer")]),
    (
        "a.py",
        '"""Ask for it.\n\nNobody knows: so many leftovers.\n"""',
        [(1, "Ask for"), (3, "leftovers"), (3, "so many"), (3, "Nobody knows")],
    ),
    ("a.py", "x = 1  # what\n# becomes of it\n", [(1, "what becomes of")]),
    ("a.py", "x = 1  # what\n\n\n# becomes of it\n", []),
    ("a.py", 'f"{x} waits for a person"', [(1, "a person")]),
    (
        "a.py",
        "class PutBack:\n    def roll_over(self, epoch): ...",
        [(1, "Put Back"), (2, "roll over"), (2, "epoch")],
    ),
    ("a.py", "file.tell()  # a method of Python's", []),
    ("a.py", 'status = "held"', [(1, "held")]),
    ("a.py", "with lock: ...  # held by one thread", []),
    ("a.md", "seconds since the epoch; connection refused; it makes room; a team leader; told apart", []),
    ("a.md", "A stop reason `refusal`, a switch `refused`.", []),
    ("a.md", "Their verdict. <!-- phrases: allow -->", []),
    ("a.md", "A transient error; the chunk is requeued.", []),
    ("Makefile", "x:  ## asked again\n", [(1, "asked again")]),
]


@pytest.mark.parametrize(("path", "text", "expected"), CASES)
def test_phrases_are_found_where_people_read_them(
    path: str, text: str, expected: list[tuple[int, str]]
) -> None:
    found = [(hit.line, hit.text) for hit in hits(path, text)]
    assert sorted(found) == sorted(expected)


def test_all_kinds_of_files_are_read() -> None:
    read = set(files())
    assert {
        "README.md",
        "Makefile",
        "pyproject.toml",
        ".ci/run",
        "docs/glossary.md",
        "bedrock_pipeline/settings.py",
    } <= read
    assert any(name.endswith(".sql") for name in read)
    assert any(name.startswith("bedrock_pipeline_tests/ledger/") for name in read)
    assert not any(name.startswith(".venv") for name in read)
