"""Layers that read texts by their tokens, without recurrence."""
