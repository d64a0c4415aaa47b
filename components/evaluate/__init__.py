"""Scores what the served model will answer, and decides whether it may be served."""
