"""Bedrock's batch inference on this machine, indistinguishable from the service for clients.

What belongs here: the emulated service, which imports nothing of the other packages, so that a misreading of the
service on one side cannot hide on the other. The contract is the service model that botocore ships.
"""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; prints `ready http://HOST:PORT` when it answers."""
    from bedrock_pipeline.emulator.server import main  # here: a client in `control` needs no web server

    return main(argv)
