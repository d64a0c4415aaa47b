"""Runs as people look at them: comparisons and pages."""
