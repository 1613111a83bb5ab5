"""What is deleted after a time, and what is kept.

What belongs here: the decision, which is pure (`decision.py`), and carrying it out (`prune_version.py`).
"""
