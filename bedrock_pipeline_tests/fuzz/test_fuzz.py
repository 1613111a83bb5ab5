"""What was found stays fixed, and a budget of new inputs breaks no promise; `make fuzz` goes on for longer."""

import random
import time
from pathlib import Path

import pytest

from bedrock_pipeline_tests.fuzz.__main__ import fuzz
from bedrock_pipeline_tests.fuzz.run_target import changed
from bedrock_pipeline_tests.fuzz.targets import CORPUS, TARGETS, WORDS, entries

#: Of each target.
_SECONDS = 8


def test_the_corpus_belongs_to_the_targets() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= TARGETS.keys()


@pytest.mark.parametrize(
    ("name", "entry"),
    [(name, entry) for name in TARGETS for entry in entries(name)],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_what_was_found_stays_fixed(name: str, entry: Path) -> None:
    TARGETS[name].run(entry.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_new_inputs_break_no_promise(name: str, tmp_path: Path) -> None:
    target, seed = TARGETS[name], random.randrange(2**32)
    pool = [*target.seeds(), *(entry.read_bytes() for entry in entries(name))]
    for data in pool:
        target.run(data)
    rng, end, runs = random.Random(seed), time.monotonic() + _SECONDS, 0
    while time.monotonic() < end:
        data = changed(rng.choice(pool), rng, WORDS)
        (tmp_path / "input").write_bytes(data)
        try:
            target.run(data)
        except BaseException as error:
            error.add_note(f"It is input {runs} of seed {seed}: {data!r}")
            raise
        runs += 1
    print(f"{name}: {runs} runs in {_SECONDS} s")  # noqa: T201  # shown with -s or where it fails


def test_a_broken_promise_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the process of `make fuzz`: a hook takes an error's type away."""
    (tmp_path / "sitecustomize.py").write_text(
        "from bedrock_pipeline.prompts.template import Template\n"
        "Template._error = lambda *_: RuntimeError('broken')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = fuzz("templates", 5, tmp_path / "reports")
    assert found.code != 0
    assert "RuntimeError: broken" in found.output
    assert len(found.found) == 1
