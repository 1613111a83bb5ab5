"""Pricing: what tokens cost, how many a record will need, and what answers have cost.

What belongs here: pure functions. What an estimate of a dataset needs from ledger and S3 stands in `prepare`.
"""
