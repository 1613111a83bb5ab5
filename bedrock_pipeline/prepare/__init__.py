"""Prepare a dataset: take an immutable snapshot of its input, pack it into chunks, upload and record them.

Files that begin with a verb read and write S3 and the ledger; `snapshot`, `requests` and `chunks` make the decisions
and work on local files only.
"""
