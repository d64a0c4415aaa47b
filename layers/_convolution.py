"""A convolution over time that keeps the length."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Convolution(keras.layers.Conv1D):
    """`keras.layers.Conv1D` with `padding="same"`, also for a batch without rows.

    Args:
        filters: Positive integer, number of features.
        kernel_size: Positive integer, how many steps a feature sees.
        activation: Activation function.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, filters: int, kernel_size: int, activation: Any, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, padding="same", activation=activation, **kwargs)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the features, of shape `(batch, time, filters)`."""
        features = ops.conv(inputs, self.kernel, padding=self.padding)
        # Without rows, TensorFlow's fast kernels for CPUs return the shape of their inputs. A single reshape
        # would be removed from a graph, where the shape is known to be right.
        features = self.activation(ops.add(ops.reshape(features, (-1, self.filters)), self.bias))
        return ops.reshape(features, (*ops.shape(inputs)[:2], self.filters))
