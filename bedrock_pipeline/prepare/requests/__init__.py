"""Rows into the requests of a job's input: prompt templates, bodies, and rendering many at a time."""
