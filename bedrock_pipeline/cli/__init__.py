"""The command line: arguments, output, exit codes (0 success, 1 error, 2 wrong usage, 3 not finished in time)."""

from bedrock_pipeline.cli.main import main

__all__ = ["main"]
