"""Text to label."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from components.models.config import ModelConfig
from components.models.pooling import pool


@keras.saving.register_keras_serializable(package="rnnpipe")
class Classifier(keras.Model):
    """Embedding, encoder, pooling, and one linear layer.

    Args:
        config: the network, as a ModelConfig or its plain data.
        vocabulary_size: number of token ids; 0 is padding.
        classes: number of labels.

    Call arguments:
        tokens: integers [B, T], padded with 0 on the right.

    Returns:
        Logits, float32 [B, classes].
    """

    def __init__(
        self, config: ModelConfig | dict[str, Any], vocabulary_size: int, classes: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.config = ModelConfig.model_validate(config)
        self.vocabulary_size = vocabulary_size
        self.classes = classes
        self.embedding = keras.layers.Embedding(vocabulary_size, self.config.embedding_size, name="embedding")
        self.dropout = keras.layers.Dropout(self.config.dropout)
        self.encoder = self.config.encoder.encoder()
        self.logits = keras.layers.Dense(classes, dtype="float32", name="logits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes every variable; Keras also calls it when a saved model is loaded."""
        self.call(keras.KerasTensor(input_shape, "int32"))

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        """Returns the logits; see the class."""
        mask = ops.not_equal(tokens, 0)
        embedded = self.dropout(self.embedding(tokens), training=training)
        outputs, states = self.encoder(embedded, mask=mask, training=training)
        pooled = pool(outputs, states, mask, self.config.pooling or "last")
        return self.logits(self.dropout(pooled, training=training))

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {
            **super().get_config(),
            "config": self.config.model_dump(mode="json"),
            "vocabulary_size": self.vocabulary_size,
            "classes": self.classes,
        }
