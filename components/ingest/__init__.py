"""Reads the user's files into checked, counted examples."""
