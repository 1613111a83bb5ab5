"""Submit chunks: at most one job each, followed until it has ended; on-demand calls where a job would be too small.

What belongs here: the files that begin with a verb call Bedrock and the ledger; nouns are pure.
"""
