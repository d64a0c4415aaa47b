"""Artifacts: what each stage leaves, with a typed reader and writer; file names are spelled here only."""
