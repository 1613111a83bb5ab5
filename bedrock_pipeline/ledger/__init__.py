"""The ledger: the tables in Postgres that record datasets, chunks, jobs and slots.

What belongs here: every SQL statement of the project, a file for each subject, and the rules that must hold inside a
transaction. What does not: anything that calls AWS or Dagster, or addresses a user.
"""

from bedrock_pipeline.ledger.ledger import Ledger

__all__ = ["Ledger"]
