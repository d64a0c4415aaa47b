"""Writes a configuration from data that nobody has described yet."""
