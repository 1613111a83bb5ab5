"""The ledger: our tables in Postgres, the truth about datasets, chunks, jobs and slots.

What belongs here: every SQL statement of the project, one subject a file, and the rules that must hold inside
a transaction. What does not: anything that talks to AWS, to Dagster or to a user.
"""

from bedrock_pipeline.ledger.ledger import Ledger

__all__ = ["Ledger"]
