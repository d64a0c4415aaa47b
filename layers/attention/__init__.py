"""Attention layers, and what is built of them."""
