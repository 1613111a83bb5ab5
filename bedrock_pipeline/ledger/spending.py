"""Spending: what a dataset may cost, and how many tokens chunks of a model used.

What belongs here: the statements on caps, approvals and measured tokens. Whatever costs money, a job or an on-demand
call, calls `lock_budget` and then `over_budget` in the transaction of its intent. Locks are taken in one order
everywhere: quota group, dataset, chunk.
"""

from decimal import Decimal
from uuid import UUID

from bedrock_pipeline.errors import InvalidInputError, StateError
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import Budget
from bedrock_pipeline.pricing.estimates import Measured
from bedrock_pipeline.records.dataset_request import check_cost

#: Chunks from which a model's tokens are measured.
_MOST_CHUNKS = 20


class NoCapError(StateError):
    """There is nothing to approve."""


class Spending:
    """Caps, approvals and measured tokens of all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def measured(self, pipeline: str, model_id: str) -> Measured:
        """How the tokens of the pipeline's chunks collected last compare with their estimates; only answered records count.

        Those of another pipeline say nothing: one whose responses are far below their limit would have the cap of another,
        whose responses are as long as theirs, exceeded.
        """
        [row] = self._database.fetch(
            """SELECT count(*) AS chunks, sum(input_tokens) / nullif(sum(guessed_input_tokens * answered / records), 0) AS input,
                      sum(output_tokens) / nullif(sum(guessed_output_tokens * answered / records), 0) AS output,
                      sum(output_tokens) / nullif(sum(answered), 0) AS output_each
               FROM (SELECT guessed_input_tokens::numeric, guessed_output_tokens::numeric, input_tokens, output_tokens,
                            answered, records
                     FROM bedrock_pipeline.chunks
                     WHERE pipeline = %s AND model_id = %s AND collected_at IS NOT NULL AND guessed_input_tokens IS NOT NULL
                       AND input_tokens > 0
                     ORDER BY collected_at DESC LIMIT %s) AS last""",
            (pipeline, model_id, _MOST_CHUNKS),
        )
        one = Decimal(1)
        return Measured(
            row["chunks"], row["input"] or one, row["output"] or one, row["output_each"] or Decimal(0)
        )

    def budget(self, pipeline: str, dataset: str) -> Budget | None:
        """What a dataset may cost; None if it has no cap."""
        rows = self._database.fetch(
            "SELECT * FROM bedrock_pipeline.budgets WHERE pipeline = %s AND dataset = %s", (pipeline, dataset)
        )
        return Budget.of(rows[0]) if rows else None

    def exhausted(self, pipelines: list[str] | None = None, limit: int = 50) -> list[Budget]:
        """Datasets with chunks that wait for an operator to approve their cost; None means all pipelines."""
        rows = self._database.fetch(
            """SELECT b.* FROM bedrock_pipeline.budgets b
               WHERE (%(pipelines)s::text[] IS NULL OR b.pipeline = ANY(%(pipelines)s)) AND EXISTS (
                   SELECT FROM bedrock_pipeline.chunks c
                   WHERE (c.pipeline, c.dataset, c.dataset_version) = (b.pipeline, b.dataset, b.version)
                     AND c.collected_at IS NULL AND c.status = 'pending'
                     AND (b.committed_usd - bedrock_pipeline.taken_usd(c) + c.estimated_cost_usd <= b.cap_usd) IS NOT TRUE)
               ORDER BY b.pipeline, b.dataset LIMIT %(limit)s""",
            {"pipelines": pipelines, "limit": limit},
        )
        return [Budget.of(row) for row in rows]

    def approve(self, pipeline: str, dataset: str, up_to_usd: Decimal, approved_by: str) -> Budget:
        """Record that the dataset's current version may cost up to an amount; the last approval counts.

        Raises:
            NoCapError: the dataset has no cap or does not exist.
            InvalidInputError: the amount is not a number above 0.
        """
        try:
            check_cost("up_to_usd", up_to_usd)
        except ValueError as error:
            raise InvalidInputError(f"{error}.") from None

        def work(connection: Connection) -> Budget:
            connection.execute(
                """INSERT INTO bedrock_pipeline.approvals (pipeline, dataset, version, up_to_usd, approved_by)
                   SELECT pipeline, dataset, version, %(up_to)s, %(who)s FROM bedrock_pipeline.budgets b
                   WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND cap_usd <> %(up_to)s""",
                {"pipeline": pipeline, "dataset": dataset, "up_to": up_to_usd, "who": approved_by},
            )
            row = connection.execute(
                "SELECT * FROM bedrock_pipeline.budgets WHERE pipeline = %s AND dataset = %s",
                (pipeline, dataset),
            ).fetchone()
            if row is None:
                raise NoCapError(
                    f"Dataset {dataset!r} of pipeline {pipeline!r} has no max_cost_usd, so nothing waits for an approval.",
                    "See `bedrock-pipeline status`.",
                )
            return Budget.of(row)

        return self._database.transaction(work)


def lock_budget(connection: Connection, chunk_id: UUID) -> None:
    """Lock the budget of the chunk's dataset; after its quota group, before the chunk itself.

    A dataset without a cap is not locked.
    """
    connection.execute(
        """SELECT FROM bedrock_pipeline.datasets d JOIN bedrock_pipeline.chunks c USING (pipeline, dataset)
           JOIN bedrock_pipeline.versions v USING (pipeline, dataset, version)
           WHERE c.chunk_id = %s AND v.max_cost_usd IS NOT NULL FOR NO KEY UPDATE OF d""",
        (chunk_id,),
    )


def over_budget(connection: Connection, chunk_id: UUID) -> str | None:
    """Why a chunk may not be paid for; None if it may. Only after `lock_budget`, as a statement of its own."""
    row = connection.execute(
        """SELECT b.*, c.dataset_version, c.model_id, c.estimated_cost_usd,
                  b.committed_usd - bedrock_pipeline.taken_usd(c) AS others_usd
           FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.budgets b USING (pipeline, dataset)
           WHERE c.chunk_id = %s""",
        (chunk_id,),
    ).fetchone()
    if row is None:
        return None
    if row["dataset_version"] != row["version"]:
        return "The dataset has a newer version, and its max_cost_usd is for that one."
    fits = None not in (row["others_usd"], row["estimated_cost_usd"]) and (
        row["others_usd"] + row["estimated_cost_usd"] <= row["cap_usd"]
    )
    return None if fits else Budget.of(row).reason
