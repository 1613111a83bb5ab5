"""`python -m bedrock_pipeline` is the command line."""

from bedrock_pipeline.cli import main

main()
