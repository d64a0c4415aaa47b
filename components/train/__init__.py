"""Trains a model, one resumable epoch after another."""
