"""Write the results of a dataset into a table of Delta Lake or Iceberg.

One commit replaces the dataset's rows, whatever was there of it: a repetition after a crash adds nothing twice, and a new
version takes the place of the old one. The commit carries the number of the publication, so that a publisher that was
suspended cannot put an old version over a newer one.
"""

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.publish.table_rows import Written
from bedrock_pipeline.publish.write_delta import write_delta
from bedrock_pipeline.publish.write_iceberg import write_iceberg
from bedrock_pipeline.sources import DeltaTable, IcebergTable


def write_table(deployment: Deployment, table: DeltaTable | IcebergTable, written: Written) -> bool:
    """Replace the rows of a dataset in a table by its results; a table that does not exist is created.

    Returns:
        False if the table has a later publication of the dataset, and was not changed.

    Raises:
        TableRejectedError: the table does not take the results; nothing was changed.
        TableBusyError: another writer was faster.
        TableUnavailableError: its store or its catalog failed.
        ConfigurationError: a package or a catalog is missing.
    """
    publisher = f"bedrock-pipeline/{deployment.ledger.deployment_id}/{written.pipeline}/{written.dataset}"
    if isinstance(table, DeltaTable):
        return write_delta(deployment, table.of(written.dataset), written, publisher)
    return write_iceberg(deployment, table.of(written.dataset), written, publisher)
