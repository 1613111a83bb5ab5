"""The shared vocabulary: limits, keys, record ids, lines, packed chunks, rejections, the result schema.

What belongs here: values and rules that several packages use, without effects beyond a local work folder. What does
not: S3, the ledger, Dagster, the formats of models.
"""
