"""Artifacts under a root, on a disk or in an object store."""
