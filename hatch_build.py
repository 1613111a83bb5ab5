"""Builds the kernel when the package is installed: two C files, no headers of Python's.

What belongs here: finding a compiler and calling it. Where there is none the package works without the kernel, slower.
"""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_FOLDER = Path("bedrock_pipeline/kernel")


class KernelBuildHook(BuildHookInterface):  # type: ignore[misc,type-arg]  # hatchling is there at building alone
    """Puts `kernel.so` beside its sources, and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's interface
        """Build, or say why not."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / _FOLDER
        library = folder / "kernel.so"
        library.unlink(missing_ok=True)
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            self.app.display_warning("No C compiler: bedrock_pipeline is installed without its kernel.")
            return
        sources = [str(source) for source in sorted(folder.glob("*.c"))]
        command = [compiler, "-O3", "-std=c11", "-shared", "-fPIC", "-o", str(library), *sources]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # no input of others
        if done.returncode:
            self.app.display_warning(f"The kernel could not be compiled: {done.stderr[-2000:]}")
            return
        build_data["artifacts"].append(f"/{_FOLDER}/kernel.so")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
