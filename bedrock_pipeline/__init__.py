"""Batch LLM inference on AWS Bedrock, orchestrated by Dagster.

What belongs here: nothing but the package's version. Each room (sub-package) says in its own docstring
what it holds; `docs/architecture.md` shows how they fit together.
"""

__version__ = "0.1.0"
