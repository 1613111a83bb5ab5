"""Rows of a source into an immutable snapshot: record ids, duplicates, images, and the rows that are rejected."""
