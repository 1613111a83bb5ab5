"""The work, stage by stage: snapshot, pack, submit, poll, reconcile, collect, publish.

What belongs here: what is done with records, the ledger and AWS together, and in which order, so that nothing
is lost and no job is paid for twice. What does not: Dagster, the command line, SQL, boto3.
"""
