"""Virtual environments that hold what a user would have installed, and nothing else, without downloading it again.

What belongs here: an empty environment, a wheel of ours in it, and links to those installed packages that the wheel's
metadata requires. What the wheel does not require cannot be imported there.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: A folder that does not exist: no compiler, no rclone, nothing.
NO_PROGRAMS = "/nonexistent"


def outside(**changes: str) -> dict[str, str]:
    """The environment of a process that knows nothing of this checkout; and has no programs, unless PATH is given."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": NO_PROGRAMS, **changes}


def run(command: list[str], folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command there, in an environment of `outside`."""
    return subprocess.run(
        command, cwd=folder, env=outside(**changes), capture_output=True, text=True, check=False
    )


class Environment:
    """A virtual environment with one wheel and what its metadata requires, without extras.

    Args:
        folder: where to make it.
        wheel: the wheel.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.programs = folder / "bin"
        self.python = str(self.programs / "python")
        _done([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        (self.packages,) = (folder / "lib").glob("python*/site-packages")
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-compile"]
        _done([*pip, "--no-index", "--no-deps", str(wheel)])
        (installed,) = metadata.distributions(name="bedrock-pipeline", path=[str(self.packages)])
        for name in _with_their_own(installed.requires or ()):
            self._link(metadata.distribution(name))

    def run(self, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run Python code there."""
        return run([self.python, "-c", code], folder)

    def _link(self, package: metadata.Distribution) -> None:
        tops = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
        for top in tops:
            if not (self.packages / top).exists():  # a namespace that several packages share
                (self.packages / top).symlink_to(str(package.locate_file(top)))


def _done(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _with_their_own(requirements: Iterable[str]) -> set[str]:
    """The packages that requirements name, and all that these need in turn."""
    found: dict[str, set[str]] = {}
    waiting: list[tuple[str, Mapping[str, str]]] = [(one, {"extra": ""}) for one in requirements]
    while waiting:
        text, extra = waiting.pop()
        one = Requirement(text)
        if one.marker and not one.marker.evaluate(dict(extra)):
            continue
        name = canonicalize_name(one.name)
        new = {"", *one.extras} - found.setdefault(name, set())
        found[name] |= new
        for wanted in new:
            waiting += [(needed, {"extra": wanted}) for needed in metadata.requires(name) or ()]
    return set(found)
