"""Freezes tokenizer, model and decoder into a SavedModel, proves it, and pushes it."""
