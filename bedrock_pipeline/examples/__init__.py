"""Pipelines to look at and to start from: the demo over Python's standard library, and files of one's own.

What belongs here: complete, small uses of the library. Nothing that another room needs.
"""
