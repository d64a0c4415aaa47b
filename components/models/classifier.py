"""Text to label."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from components.models.config import ModelConfig
from components.models.embedding import source_embedding
from components.models.pooling import HardAttentionPooling, pool
from components.models.reinforce import ReinforcedModel
from components.models.vocabulary import VocabularyAxis
from layers import AttentionPooling, HardSelection

_LEAST = 1e-6  # the probability of a label whose estimate is 0 or less


@keras.saving.register_keras_serializable(package="rnnpipe")
class Classifier(ReinforcedModel):
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
        Logits, float32 [B, classes]; in training by REINFORCE a dict of them and of the sampled choices, see
        ReinforcedModel.
    """

    def __init__(
        self, config: ModelConfig | dict[str, Any], vocabulary_size: int, classes: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.config = ModelConfig.model_validate(config)
        self.vocabulary_size = vocabulary_size
        self.classes = classes
        self.embedding = source_embedding(self.config, vocabulary_size, "embedding")
        self.dropout = keras.layers.Dropout(self.config.dropout or 0.0)
        self.encoder = self.config.encoder.encoder(vocabulary_size)
        self.attention_pooling: Any = None
        if self.config.pooling == "attention":
            self.attention_pooling = AttentionPooling(name="attention_pooling")
        elif isinstance(self.config.pooling, HardAttentionPooling):
            self.attention_pooling = self.config.pooling.pooling()
        self.readout = keras.layers.Dense(classes, dtype="float32", name="logits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes every variable; Keras also calls it when a saved model is loaded."""
        self.call(keras.KerasTensor(input_shape, "int32"))

    @property
    def selection(self) -> HardSelection | None:
        """What chooses the step that a hard pooling reads."""
        return getattr(self.attention_pooling, "selection", None)

    def features(self, tokens: Any, training: bool | None = None) -> Any:
        """Returns what the readout reads, [B, D], zeros for a text without tokens."""
        return self._read(tokens, training)[0]

    def _read(self, tokens: Any, training: bool | None) -> tuple[Any, dict[str, Any]]:
        """Returns the features, and the choices that `compute_loss` must train."""
        mask = ops.not_equal(tokens, 0)
        inputs = self.dropout(self.embedding(tokens), training=training) if self.embedding else tokens
        outputs, states = self.encoder(inputs, mask=mask, training=training)
        mask = self.encoder.compute_mask(inputs, mask)
        pooling = self.config.pooling or self.config.encoder.default_pooling
        if isinstance(pooling, str) and pooling != "attention":
            return pool(outputs, states, mask, pooling), {}
        if not self.samples(training):
            return self.attention_pooling(outputs, mask=mask, training=training), {}
        features, _, log_probs, entropies = self.attention_pooling(
            outputs, mask=mask, training=training, return_selection=True
        )
        return features, {"log_probs": log_probs, "entropies": entropies}

    def attention_weights(self, tokens: Any) -> Any:
        """Returns what attention pooling weighs each step of the encoder by, [B, T]; 0 at padding."""
        mask = ops.not_equal(tokens, 0)
        inputs = self.embedding(tokens) if self.embedding else tokens
        outputs, _ = self.encoder(inputs, mask=mask, training=False)
        mask = self.encoder.compute_mask(inputs, mask)
        return self.attention_pooling(outputs, mask=mask, training=False, return_attention_scores=True)[1]

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        """Returns the logits; see the class."""
        features, choices = self._read(tokens, training)
        logits = self.readout(self.dropout(features, training=training))
        if self.config.readout:
            logits = ops.log(ops.maximum(logits, _LEAST))
        return {"logits": logits, **choices} if choices else logits

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
        return self.selection.weights if self.selection else []

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {
            **super().get_config(),
            "config": self.config.model_dump(mode="json"),
            "vocabulary_size": self.vocabulary_size,
            "classes": self.classes,
        }
