"""The embedding of the text that a model reads."""

from __future__ import annotations

import keras

from components.models.config import ModelConfig


def source_embedding(config: ModelConfig, vocabulary_size: int, name: str) -> keras.layers.Embedding | None:
    """Makes the embedding that the encoder reads.

    Args:
        config: the network.
        vocabulary_size: number of token ids.
        name: the layer's.

    Returns:
        The layer; None for an encoder that reads the token ids themselves.
    """
    if config.encoder.reads_tokens:
        return None
    return keras.layers.Embedding(
        vocabulary_size, config.width, trainable=config.embeddings.trainable, name=name
    )
