"""Pack and parse files without ledger and deployment: the code of `prepare` and `collect` on a local folder."""
