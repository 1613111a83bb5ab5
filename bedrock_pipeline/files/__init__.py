"""Packing and parsing on files alone, without ledger and deployment: the code of `prepare` and `collect` on a folder."""
