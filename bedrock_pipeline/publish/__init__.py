"""Publish a dataset: a version of its complete results becomes visible at once; duplicates get their canonical record's answer."""
