"""Prepare a dataset: an immutable snapshot of its input, packed into chunks that are uploaded and entered.

What belongs here: the files that begin with a verb read and write S3 and the ledger; `snapshot`, `requests` and
`chunks` hold the decisions and work on local files alone.
"""
