"""Example pipelines: the demo over Python's standard library, and one for your own files."""
