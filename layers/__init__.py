"""Keras layers: tensors in, tensors out."""
