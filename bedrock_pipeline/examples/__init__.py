"""Example pipelines: the demo over Python's standard library, and one for your own files."""

#: The model of the examples.
MODEL = "anthropic.claude-3-5-haiku-20241022-v1:0"
