"""Rows as lines of a job's input: prompt templates, the scalar rule, and rendering many rows at a time."""
