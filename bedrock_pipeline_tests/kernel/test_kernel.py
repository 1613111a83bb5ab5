"""The kernel is built if possible, stays within its buffers, and can be disabled.

Property tests of its callers check that it gives the same as the scalar rules.
"""

import itertools
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

import bedrock_pipeline.kernel
from bedrock_pipeline.kernel.library import SWITCH, library

FOLDER = Path(bedrock_pipeline.kernel.__file__).parent
COMPILER = shutil.which(os.environ.get("CC", "cc"))


@pytest.mark.skipif(COMPILER is None, reason="NO C COMPILER: the kernel is not built here, nor tested")
def test_it_is_built_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library() is not None
    monkeypatch.setenv(SWITCH, "off")
    assert library() is None


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "was not compiled"), (b"for another machine", "could not be loaded")]
)
def test_that_it_is_missing_is_logged_once(
    content: bytes | None,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = import_module("bedrock_pipeline.kernel.library")
    file = tmp_path / "kernel.so"
    if content:
        file.write_bytes(content)
    monkeypatch.setattr(module, "_FILE", file)
    monkeypatch.setattr(module, "_MISSES", itertools.count())
    module._built.cache_clear()
    try:
        monkeypatch.setenv(SWITCH, "off")
        assert library() is None
        assert not caplog.records  # switched off, not missing
        monkeypatch.delenv(SWITCH)
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda _: library(), range(64))) == [None] * 64
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert reason in record.getMessage()
    finally:
        module._built.cache_clear()


def test_it_keeps_within_its_buffers(tmp_path: Path) -> None:
    """The sanitizers end the process at the first byte beyond a buffer, and at what C leaves undefined."""
    sanitizer = _sanitizer()
    if sanitizer is None:
        pytest.skip("NO ADDRESS SANITIZER HERE: nobody looks whether the kernel keeps within its buffers")
    built = tmp_path / "kernel.so"
    sources = [str(source) for source in sorted(FOLDER.glob("*.c"))]
    flags = ["-O1", "-g", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    assert COMPILER
    subprocess.run([COMPILER, *flags, *sanitize, "-o", str(built), *sources], check=True)
    options = {"LD_PRELOAD": sanitizer, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    options["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    fuzz = [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(built)]
    done = subprocess.run(fuzz, env={**os.environ, **options}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.splitlines()[-1]) > 500


def _sanitizer() -> str | None:
    if COMPILER is None:
        return None
    asked = [COMPILER, "-print-file-name=libasan.so"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return found if Path(found).is_absolute() and Path(found).exists() else None
