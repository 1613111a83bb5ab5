"""Definitions, each in a folder or file of its own."""
