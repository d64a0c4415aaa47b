"""Sweeps: which trials there are, how they are ranked, and which one is picked."""
