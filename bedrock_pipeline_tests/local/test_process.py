"""Child processes end at their signal."""

import os
import signal
from pathlib import Path

from bedrock_pipeline.local.process import Child


def test_a_child_of_a_background_process_ends_at_its_signal(tmp_path: Path) -> None:
    """A shell starts background processes with SIGINT ignored, which children inherit."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = Child("sleeper", ["sleep", "60"], tmp_path, os.environ, end_signal=signal.SIGINT)
        child.end()
    finally:
        signal.signal(signal.SIGINT, before)
    assert child.process.returncode == -signal.SIGINT, "it was not killed, as who does not listen is"
