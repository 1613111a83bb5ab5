"""Prompts: templates, how values are written in them, and conversations that a row brings itself. No I/O."""
