"""The command line.

What belongs here: commands, what they print, their exit codes: 0 done, 1 failed, 2 usage, 3 not finished in time.
What does not: the work.
"""

from bedrock_pipeline.cli.main import main

__all__ = ["main"]
