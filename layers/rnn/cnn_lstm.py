"""Convolution and max pooling before recurrent layers (C-LSTM; Zhou et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._convolution import Convolution
from layers._validation import positive_integer
from layers.rnn.recurrent_stack import RecurrentStack


@keras.saving.register_keras_serializable(package="rnnpipe")
class CNNLSTM(keras.layers.Layer):
    """Shortens a sequence by convolution and max pooling, and reads the rest with a stack of LSTMs.

    A feature of the convolution at step `t` sees the steps from `t - (kernel_size - 1) // 2` to
    `t + kernel_size // 2`; beyond the ends and under the mask there are zeros. Pooling takes the maxima of
    steps `0 .. pool_size - 1`, of the next `pool_size`, and so on. The LSTMs then make `time / pool_size`
    steps, rounded up, which makes long inputs such as characters affordable.

    Padding never shows: a row gives the same outputs and final states alone as in a batch with longer rows.
    A pooled step is real if any of its steps is, and only these enter its maximum.

    C-LSTM does not pool, so as to keep the order of its features, and runs one unidirectional LSTM over
    convolutions of 2 to 4 steps that stay inside the sequence. Pooling by 2 and LSTMs in both directions are
    from Xiao and Cho, who stack up to five convolutions. `pool_size=1` comes near the former.

    Args:
        units: Positive integer, width of the LSTMs.
        filters: Positive integer, number of features of the convolution. Defaults to 64.
        kernel_size: Positive integer, how many steps the convolution sees. Defaults to 5.
        pool_size: Positive integer, how many steps become one. Defaults to 2.
        activation: Activation function of the convolution. Defaults to `"relu"`.
        depth: Positive integer, how many LSTMs stand on each other. Defaults to 1.
        bidirectional: Whether each LSTM reads in both directions. Defaults to `False`.
        residual: Whether to add its input to an LSTM's output, from the second LSTM on. Defaults to `False`.
        dropout: Float in [0, 1), fraction of each LSTM's inputs dropped in training, by one mask for all
            steps of a sequence. Defaults to 0.
        seed: Integer seed of the dropout, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, features)`.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are. On a GPU,
            Keras' `LSTM` takes right-padded sequences only.
        training: Whether to apply dropout.

    Returns:
        As `RecurrentStack`: the outputs of the last LSTM, of shape `(batch, ceil(time / pool_size), units)`
        (`2 * units` if bidirectional), 0 where `compute_mask(inputs, mask)` is `False`, and for each
        LSTM a list of its two final states, each of shape `(batch, units)` (`2 * units` if bidirectional).

    Example:
        ```python
        inputs = np.random.random((32, 20, 8))
        outputs, states = CNNLSTM(16, pool_size=4, bidirectional=True)(inputs)  # `outputs` is (32, 5, 32).
        ```

    References:
        - [A C-LSTM Neural Network for Text Classification](https://arxiv.org/abs/1511.08630)
          (Zhou et al., 2015)
        - [Efficient Character-level Document Classification by Combining Convolution and Recurrent Layers](
          https://arxiv.org/abs/1602.00367) (Xiao and Cho, 2016)
    """

    def __init__(
        self,
        units: int,
        filters: int = 64,
        kernel_size: int = 5,
        pool_size: int = 2,
        activation: Any = "relu",
        depth: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        sizes = {"units": units, "filters": filters, "kernel_size": kernel_size, "pool_size": pool_size}
        for name, size in sizes.items():
            positive_integer(name, size)
        super().__init__(**kwargs)
        self.units = units
        self.filters = filters
        self.kernel_size = kernel_size
        self.pool_size = pool_size
        self.activation = keras.activations.get(activation)
        self.depth = depth
        self.bidirectional = bidirectional
        self.residual = residual
        self.dropout = dropout
        self.seed = seed
        self.convolution = Convolution(
            filters,
            kernel_size,
            activation=self.activation,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.stack = RecurrentStack(
            keras.layers.LSTM(units, dtype=self.dtype_policy),
            depth=depth,
            bidirectional=bidirectional,
            residual=residual,
            dropout=dropout,
            seed=seed,
            name="stack",
        )

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shape of `inputs`."""
        self.convolution.build(inputs_shape)
        self.stack.build((inputs_shape[0], None, self.filters))

    def call(
        self,
        inputs: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        training: bool | None = None,
    ) -> tuple[keras.KerasTensor, list[list[keras.KerasTensor]]]:
        """Shortens and reads the sequences; see the class for arguments and result."""
        if mask is None:
            return self.stack(self._pool(self.convolution(inputs)), training=training)
        real = ops.expand_dims(ops.cast(mask, "bool"), axis=-1)
        features = self.convolution(ops.where(real, inputs, ops.zeros_like(inputs)))
        pooled = self._pool(ops.where(real, features, -float("inf")))
        pooled_mask = self.compute_mask(inputs, mask)
        pooled = ops.where(ops.expand_dims(pooled_mask, axis=-1), pooled, ops.zeros_like(pooled))
        return self.stack(pooled, mask=pooled_mask, training=training)

    def _pool(self, steps: keras.KerasTensor) -> keras.KerasTensor:
        # Not `padding="same"`, which also pads on the left, by an amount that depends on the length.
        steps = ops.pad(steps, ((0, 0), (0, self.pool_size - 1), (0, 0)), constant_values=-float("inf"))
        size = (self.pool_size,)  # On JAX, Keras gets a plain integer's strides wrong.
        return ops.max_pool(steps, size, size, padding="valid")

    def compute_mask(
        self, inputs: keras.KerasTensor, mask: keras.KerasTensor | None = None
    ) -> keras.KerasTensor | None:
        """Returns the mask of the outputs: a pooled step is real if any of its steps is.

        Args:
            inputs: Not read.
            mask: Boolean tensor of shape `(batch, time)`, or `None`.

        Returns:
            Boolean tensor of shape `(batch, ceil(time / pool_size))`, or `None` without a mask.
        """
        if mask is None:
            return None
        real = ops.cast(ops.expand_dims(mask, axis=-1), "float32")
        return ops.squeeze(self._pool(real), axis=-1) > 0

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "pool_size": self.pool_size,
            "activation": keras.activations.serialize(self.activation),
            "depth": self.depth,
            "bidirectional": self.bidirectional,
            "residual": self.residual,
            "dropout": self.dropout,
            "seed": self.seed,
        }
