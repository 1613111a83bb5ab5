"""Records: limits, keys, prompts into records, records into chunks, output lines into rows.

What belongs here: rules and transformations without effects beyond a local work folder. What does not: S3, the
ledger, Dagster, the shapes of models.
"""
