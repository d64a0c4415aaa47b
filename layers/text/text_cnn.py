"""Convolutions of several widths side by side, pooled over time (Kim, 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._convolution import Convolution
from layers._validation import fraction, positive_integer, positive_integers

# Not only under the mask: of a batch without rows, Keras takes no maximum unless it knows the least one.
_LOWEST = -float("inf")


@keras.saving.register_keras_serializable(package="rnnpipe")
class TextCNN(keras.layers.Layer):
    """Reads a sequence by convolutions of several widths, and pools each feature over time.

    A feature of width `w` at step `t` sees the steps from `t - (w - 1) // 2` to `t + w // 2`: as many on
    either side for odd `w`, one more on the right for even `w`. Steps beyond the ends count as zeros, and so
    do masked steps, so that padding never shows: a row gives the same outputs and states alone as in a batch
    with longer rows, its outputs at masked steps are 0, and so are all outputs and states of a row without
    any real step.

    The result has the form of `RecurrentStack`'s, so that either can be the encoder of a model. The paper
    keeps the pooled features only and starts its windows inside the sequence.

    Args:
        filters: Positive integer, number of features of each width. Defaults to 100.
        kernel_sizes: Positive integers, how many steps the convolutions see. Defaults to `(3, 4, 5)`.
        activation: Activation function of the features. Defaults to `"relu"`.
        dropout: Float in [0, 1), fraction of the features dropped in training. All steps of a sequence share
            one mask, so that a feature is dropped from the outputs and from the pooled vector, as in the
            paper. Defaults to 0.
        seed: Integer seed of the dropout, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, features)`.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are.
        training: Whether to apply dropout.

    Returns:
        The outputs, of shape `(batch, time, filters * len(kernel_sizes))`, the features by width in the order
        of `kernel_sizes`, and `[[pooled]]`, their maxima over the real steps, of shape
        `(batch, filters * len(kernel_sizes))`.

    Example:
        ```python
        inputs = np.random.random((32, 20, 8))
        outputs, [[pooled]] = TextCNN(16)(inputs)  # (32, 20, 48) and (32, 48)
        ```

    Reference:
        [Convolutional Neural Networks for Sentence Classification](https://arxiv.org/abs/1408.5882)
        (Kim, 2014)
    """

    def __init__(
        self,
        filters: int = 100,
        kernel_sizes: Sequence[int] = (3, 4, 5),
        activation: Any = "relu",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        positive_integer("filters", filters)
        positive_integers("kernel_sizes", kernel_sizes)
        fraction("dropout", dropout, one=False)
        super().__init__(**kwargs)
        self.supports_masking = True
        self.filters = filters
        self.kernel_sizes = list(kernel_sizes)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.seed = seed
        self.convolutions = [
            Convolution(
                filters,
                width,
                activation=self.activation,
                dtype=self.dtype_policy,
                name=f"convolution_{index}",
            )
            for index, width in enumerate(self.kernel_sizes)
        ]
        self.feature_dropout = keras.layers.Dropout(
            dropout, noise_shape=(None, 1, None), seed=seed, dtype=self.dtype_policy
        )

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shape of `inputs`."""
        for convolution in self.convolutions:
            convolution.build(inputs_shape)

    def call(
        self,
        inputs: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        training: bool | None = None,
    ) -> tuple[keras.KerasTensor, list[list[keras.KerasTensor]]]:
        """Computes the features and their maxima; see the class for arguments and result."""
        if mask is not None:
            mask = ops.expand_dims(ops.cast(mask, "bool"), axis=-1)
            inputs = ops.where(mask, inputs, ops.zeros_like(inputs))
        features = [convolution(inputs) for convolution in self.convolutions]
        outputs = self.feature_dropout(ops.concatenate(features, axis=-1), training=training)
        if mask is None:
            return outputs, [[ops.max(outputs, axis=1, initial=_LOWEST)]]
        # Features of an activation such as tanh may all be negative: 0 must not win.
        pooled = ops.max(ops.where(mask, outputs, _LOWEST), axis=1, initial=_LOWEST)
        pooled = ops.where(ops.any(mask, axis=1), pooled, ops.zeros_like(pooled))
        return ops.where(mask, outputs, ops.zeros_like(outputs)), [[pooled]]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_sizes": list(self.kernel_sizes),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "seed": self.seed,
        }
