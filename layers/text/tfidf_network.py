"""A feed-forward network over TF-IDF vectors: the baseline beside the recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._validation import fraction, non_negative_integer, positive_integer
from layers.text.tfidf import TfIdf


@keras.saving.register_keras_serializable(package="rnnpipe")
class TfIdfNetwork(keras.layers.Layer):
    """Reads a text as a bag of terms.

    The order of the tokens counts within a term only, so what a recurrent layer gains over this one it gains
    by reading. The document frequencies are set on `tfidf`, a `TfIdf` layer.

    Args:
        vocabulary_size: Positive integer, number of token ids.
        units: Positive integer, units of each hidden layer. Defaults to 128.
        depth: Integer, number of hidden layers; with 0 the vectors themselves come out. Defaults to 1.
        dropout: Float in [0, 1), fraction of each hidden layer's outputs dropped in training. Defaults to 0.
        activation: Activation of the hidden layers. Defaults to `"relu"`.
        ngrams: How many tokens in a row make the longest term. Defaults to 1.
        hash_bins: Number of features that terms of more than one token are hashed to. Defaults to 65536.
        seed: Integer seed of the dropout, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Integers of shape `(batch, time)`.
        mask: Boolean tensor of shape `(batch, time)`, `False` at padding. Defaults to `inputs != 0`.
        training: Whether to apply dropout.

    Returns:
        The outputs, of shape `(batch, 1, units)`, one step that stands for the whole text, and the final
        states, `[[state]]` with the same values of shape `(batch, units)`; with a `depth` of 0 the width is
        `tfidf.features`. Both are 0 for a text without tokens. `compute_mask` tells which texts have any.

    Example:
        ```python
        network = TfIdfNetwork(vocabulary_size=100, units=16)
        network.tfidf.set_document_frequencies(frequencies, documents)
        outputs, [[state]] = network(tokens)  # `state` has shape (batch, 16).
        ```
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int = 128,
        depth: int = 1,
        dropout: float = 0.0,
        activation: Any = "relu",
        ngrams: int = 1,
        hash_bins: int = 65_536,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        positive_integer("units", units)
        non_negative_integer("depth", depth)
        fraction("dropout", dropout, one=False)
        self.units = units
        self.depth = depth
        self.dropout = dropout
        self.activation = keras.activations.get(activation)
        self.seed = seed
        self.tfidf = TfIdf(vocabulary_size, ngrams, hash_bins, dtype=self.dtype_policy, name="tfidf")
        self.hidden = [
            keras.layers.Dense(units, self.activation, dtype=self.dtype_policy, name=f"hidden_{index}")
            for index in range(depth)
        ]
        self.dropouts = [
            keras.layers.Dropout(
                dropout, seed=None if seed is None else seed + index, dtype=self.dtype_policy
            )
            for index in range(depth)
        ]

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Creates the weights."""
        self.tfidf.build(inputs_shape)
        width = self.tfidf.features
        for layer in self.hidden:
            layer.build((None, width))
            width = self.units

    def call(
        self, inputs: Any, mask: Any = None, training: bool | None = None
    ) -> tuple[Any, list[list[Any]]]:
        """Runs the network; see the class for arguments and result."""
        mask = ops.not_equal(inputs, 0) if mask is None else ops.cast(mask, "bool")
        state = self.tfidf(inputs, mask=mask)
        for layer, dropout in zip(self.hidden, self.dropouts, strict=True):
            state = dropout(layer(state), training=training)
        state = ops.where(ops.any(mask, axis=1, keepdims=True), state, ops.zeros_like(state))
        return ops.expand_dims(state, axis=1), [[state]]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of the outputs, of shape `(batch, 1)`."""
        mask = ops.not_equal(inputs, 0) if previous_mask is None else previous_mask
        return ops.any(mask, axis=1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.tfidf.vocabulary_size,
            "units": self.units,
            "depth": self.depth,
            "dropout": self.dropout,
            "activation": keras.activations.serialize(self.activation),
            "ngrams": self.tfidf.ngrams,
            "hash_bins": self.tfidf.hash_bins,
            "seed": self.seed,
        }
