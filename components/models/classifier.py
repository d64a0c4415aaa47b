"""Text to label."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from components.models.config import ModelConfig
from components.models.embedding import source_embedding
from components.models.pooling import HardAttentionPooling, pool
from components.models.vocabulary import VocabularyAxis
from layers import AttentionPooling

_LEAST = 1e-6  # the probability of a label whose estimate is 0 or less


@keras.saving.register_keras_serializable(package="rnnpipe")
class Classifier(keras.Model):
    """Embedding, encoder, pooling, and one linear layer: the readout.

    A readout fitted by least squares to one-hot labels answers with estimates of the labels' probabilities
    that add up to 1; their logarithms are the logits then.

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
        self.embedding = source_embedding(self.config, vocabulary_size, "embedding")
        self.dropout = keras.layers.Dropout(self.config.dropout)
        self.encoder = self.config.encoder.encoder(vocabulary_size)
        self.attention_pooling: Any = None
        if self.config.pooling == "attention":
            self.attention_pooling = AttentionPooling(name="attention_pooling")
        elif isinstance(self.config.pooling, HardAttentionPooling):
            self.attention_pooling = self.config.pooling.pooling()
        # Log probabilities and entropies of the choices in the last forward pass, if it was one of training.
        self._log_probs: Any = None
        self._entropies: Any = None
        self.readout = keras.layers.Dense(classes, dtype="float32", name="logits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes every variable; Keras also calls it when a saved model is loaded."""
        self.call(keras.KerasTensor(input_shape, "int32"))

    def features(self, tokens: Any, training: bool | None = None) -> Any:
        """Returns what the readout reads, [B, D], zeros for a text without tokens."""
        mask = ops.not_equal(tokens, 0)
        inputs = self.dropout(self.embedding(tokens), training=training) if self.embedding else tokens
        outputs, states = self.encoder(inputs, mask=mask, training=training)
        mask = self.encoder.compute_mask(inputs, mask)
        pooling = self.config.pooling or "last"
        if isinstance(pooling, HardAttentionPooling):
            pooled, _, *choices = self.attention_pooling(
                outputs, mask=mask, training=training, return_selection=True
            )
            self._log_probs, self._entropies = choices if training else (None, None)
            return pooled
        if pooling == "attention":
            return self.attention_pooling(outputs, mask=mask)
        return pool(outputs, states, mask, pooling)

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        """Returns the logits; see the class."""
        answer = self.readout(self.dropout(self.features(tokens, training=training), training=training))
        return ops.log(ops.maximum(answer, _LEAST)) if self.config.readout else answer

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids by field."""
        return {"text": self.vocabulary_size, "label": self.classes}

    def vocabulary_axes(self) -> list[VocabularyAxis]:
        """Returns every axis with an entry a token or a label."""
        rows = self.config.encoder.token_rows(self.encoder)
        if self.embedding:
            rows.append(self.embedding.embeddings)
        columns = []
        if self.config.encoder.returns_tokens:
            rows.append(self.readout.kernel)
            if self.attention_pooling:  # as wide as what it reads
                columns = [self.attention_pooling.kernel]
                rows += [*columns, self.attention_pooling.bias, self.attention_pooling.score]
        return [
            *(VocabularyAxis(variable, 0, "text") for variable in rows),
            *(VocabularyAxis(variable, 1, "text") for variable in columns),
            VocabularyAxis(self.readout.kernel, 1, "label"),
            VocabularyAxis(self.readout.bias, 0, "label"),
        ]

    def training_state(self) -> list[keras.Variable]:
        """Returns the weights that only steer the training: those of a hard pooling's estimator."""
        selection = getattr(self.attention_pooling, "selection", None)
        return selection.weights if selection else []

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Adds to the compiled loss what trains a hard pooling.

        The choice of a step is credited with the cross-entropy of its text. That has a gradient only: the
        value stays the compiled loss, comparable with the validation's.
        """
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training or self._log_probs is None:
            return loss
        cross_entropies = keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        weights = ops.ones_like(cross_entropies)
        if sample_weight is not None:
            weights = ops.cast(sample_weight, weights.dtype)
        credit = self.attention_pooling.selection.reinforce_loss(
            weights * cross_entropies, self._log_probs, weights * self._entropies, weights
        )
        credit = ops.divide_no_nan(ops.sum(credit), ops.sum(weights))
        return loss + (credit - ops.stop_gradient(credit))

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {
            **super().get_config(),
            "config": self.config.model_dump(mode="json"),
            "vocabulary_size": self.vocabulary_size,
            "classes": self.classes,
        }
