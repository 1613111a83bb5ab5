"""One object that holds the parts of the ledger.

What belongs here: the parts, one for each subject, and the deployment's identity.
"""

from types import TracebackType
from typing import Self
from uuid import UUID

from bedrock_pipeline.ledger.calls import Calls
from bedrock_pipeline.ledger.chunks import Chunks
from bedrock_pipeline.ledger.database import Connect, Database
from bedrock_pipeline.ledger.datasets import Datasets
from bedrock_pipeline.ledger.events import Events
from bedrock_pipeline.ledger.incarnations import Incarnations
from bedrock_pipeline.ledger.interventions import Interventions
from bedrock_pipeline.ledger.jobs import Jobs
from bedrock_pipeline.ledger.migrations import is_current, migrate
from bedrock_pipeline.ledger.publications import Publications
from bedrock_pipeline.ledger.queues import Queues
from bedrock_pipeline.ledger.quota_groups import QuotaGroups
from bedrock_pipeline.ledger.retention import Retention
from bedrock_pipeline.ledger.retry_rounds import RetryRounds
from bedrock_pipeline.ledger.run_leases import RunLeases
from bedrock_pipeline.ledger.served_pipelines import ServedPipelines
from bedrock_pipeline.ledger.spending import Spending
from bedrock_pipeline.ledger.status_report import StatusReport
from bedrock_pipeline.ledger.submissions import Submissions
from bedrock_pipeline.ledger.tasks import Tasks
from bedrock_pipeline.ledger.token_buckets import TokenBuckets
from bedrock_pipeline.ledger.versions import Versions
from bedrock_pipeline.system import SYSTEM, System


class Ledger:
    """The tables of one deployment.

    Args:
        dsn: a libpq connection string; empty means libpq's environment variables.
        max_connections: connections that this process may hold.
        system: whose clock and `sleep` wait between two attempts of a transaction.
        connect: makes the only connection, in place of a pool.
    """

    def __init__(
        self,
        dsn: str = "",
        *,
        max_connections: int = 2,
        system: System = SYSTEM,
        connect: Connect | None = None,
    ) -> None:
        self.database = Database(
            dsn,
            max_connections=max_connections,
            sleep=system.sleep,
            monotonic=system.monotonic,
            new_id=system.new_id,
            connect=connect,
        )
        self.datasets = Datasets(self.database)
        self.served_pipelines = ServedPipelines(self.database)
        self.versions = Versions(self.database)
        self.publications = Publications(self.database)
        self.chunks = Chunks(self.database)
        self.submissions = Submissions(self.database)
        self.spending = Spending(self.database)
        self.interventions = Interventions(self.database)
        self.quota_groups = QuotaGroups(self.database)
        self.jobs = Jobs(self.database)
        self.retry_rounds = RetryRounds(self.database)
        self.retention = Retention(self.database)
        self.calls = Calls(self.database)
        self.run_leases = RunLeases(self.database)
        self.incarnations = Incarnations(self.database)
        self.events = Events(self.database, self.incarnations)
        self.tasks = Tasks(self.database)
        self.queues = Queues(self.database)
        self.token_buckets = TokenBuckets(self.database)
        self.status_report = StatusReport(self.database)

    def migrate(self) -> list[str]:
        """Bring the schema up to date; returns the names of the applied migrations."""
        return migrate(self.database.dsn)

    def is_current(self) -> bool:
        """Whether the schema is up to date."""
        return is_current(self.database)

    @property
    def deployment_id(self) -> UUID:
        """Distinguishes this ledger's chunks and jobs from those of any other in the same account."""
        rows = self.database.fetch("SELECT deployment_id FROM bedrock_pipeline.deployment")
        found: UUID = rows[0]["deployment_id"]  # the first migration makes it
        return found

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
