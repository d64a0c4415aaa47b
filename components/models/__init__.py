"""Builds the two kinds of model from their configuration."""
