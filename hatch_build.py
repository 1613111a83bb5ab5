"""Compiles the kernel, three C files that need no Python headers, when a wheel is built.

What belongs here: finding a compiler, calling it, and the wheel's platform tag. Without a compiler the wheel is pure
Python and the package works without the kernel, slower.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

_FOLDER = Path("bedrock_pipeline/kernel")
_LIBRARY = "kernel.so"


class KernelBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its argument is the builder's configuration
    """Puts the compiled kernel into the wheel; for an editable install, beside its sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, or warn why the wheel has no kernel."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / _FOLDER
        self._scratch = Path(tempfile.mkdtemp())
        built = self._compile(sorted(folder.glob("*.c")))
        if version == "editable":  # the package is imported from its sources
            (folder / _LIBRARY).unlink(missing_ok=True)  # an old kernel must not outlive its sources
            if built:
                shutil.move(built, folder / _LIBRARY)
        elif built:
            build_data["force_include"][str(built)] = str(_FOLDER / _LIBRARY)
        if built:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_platform()}"  # called through ctypes, so any Python 3 will do

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  # hatchling's interface
        """Remove what was compiled, which the wheel holds now."""
        if self.target_name == "wheel":
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _compile(self, sources: list[Path]) -> Path | None:
        """The compiled kernel; None where there is no compiler or it fails."""
        compiler = shlex.split(os.environ.get("CC") or "cc")
        if shutil.which(compiler[0]) is None:
            self.app.display_warning("No C compiler: bedrock_pipeline is built without its kernel.")
            return None
        library = self._scratch / _LIBRARY
        options = ["-O3", "-std=c11", "-shared", "-fPIC", "-o", str(library)]
        command = [*compiler, *options, *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # no input from outside
        if done.returncode:
            self.app.display_warning(f"The kernel could not be compiled: {done.stderr[-2000:]}")
            return None
        return library


def _platform() -> str:
    """Where the kernel runs: this machine's platform with the version of the C library that it was linked against.

    Linux's tag without that version (`linux_x86_64`) comes last: package indexes reject it.
    """
    tags = list(platform_tags())
    return next((tag for tag in tags if not tag.startswith("linux_")), tags[0])
