"""Collect a job's output: every record gets its response, a final error, or another attempt in a retry round.

Files that begin with a verb read and write S3 and the ledger; nouns are pure.
"""
