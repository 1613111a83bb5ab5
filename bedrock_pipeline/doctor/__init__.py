"""Whether everything that a pipeline needs is there, before anything is bought.

What belongs here: a file a subject, with functions that ask and judge. Each returns findings: what was found, what it means,
and what fixes it. `checks` lists them all; `examine` runs them. The calls themselves are `aws`'s, `ledger`'s and
`orchestration`'s.
"""
