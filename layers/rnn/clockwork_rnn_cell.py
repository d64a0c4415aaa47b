"""One step of the Clockwork RNN (Koutnik et al., 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from layers._seeds import with_shifted_seed
from layers._validation import clock_periods, invalid, positive_integer

# The clock is kept in digits of this base: integers up to it are exact in every float type, bfloat16 too.
_CLOCK_BASE = 256


@keras.saving.register_keras_serializable(package="rnnpipe")
class ClockworkRNNCell(keras.layers.SimpleRNNCell):
    """One step of a Clockwork RNN, computed plainly: all units, then those kept that are not due.

    The units are divided into modules, the fast ones first. Module i is updated at the steps t with
    `t % periods[i] == 0` (so every module is at t = 0) and otherwise keeps its output. It reads the inputs,
    its own outputs and those of all slower modules:

    `y_i(t) = activation(x(t) kernel_i + [y_i(t - 1), y_i+1(t - 1), ...] recurrent_kernels[i] + bias_i)`

    The step is counted for each row in a state of its own. A row that skips a step, as masked rows do in
    `keras.layers.RNN`, does not count it.

    Args:
        units: Positive integer, at least one for each period. What the modules cannot share evenly goes to
            the fastest ones, one unit each.
        periods: Increasing positive integers, one for each module. Defaults to `(1, 2, 4, 8)`.
        activation: Activation function. Defaults to hyperbolic tangent.
        recurrent_initializer: Initializer of `recurrent_kernels`, one after the other (with an integer seed
            that grows by 1). Defaults to `"orthogonal"`.
        **kwargs: The other arguments of `keras.layers.SimpleRNNCell`: `use_bias`, initializers,
            regularizers, constraints, `dropout`, `recurrent_dropout`, `seed`, and those of
            `keras.layers.Layer`.

    Attributes:
        kernel: Variable of shape `(features, units)`.
        recurrent_kernels: For each module a variable of shape `(units it reads, its units)`; together
            `(g + 1) / 2g` of the recurrent weights of a simple RNN for g modules of equal size.
        bias: Variable of shape `(units,)`, or `None`.

    Call arguments:
        sequence: Tensor of shape `(batch, features)`.
        states: The outputs of the previous step, of shape `(batch, units)`, and the clock: the number of
            steps so far modulo the least common multiple of the periods, as digits of base 256, the lowest
            first, of shape `(batch, digits)`. There is one digit for multiples up to 256.
        training: Whether to apply dropout.

    Returns:
        The outputs, of shape `(batch, units)`, and the list of the new states.

    Example:
        ```python
        rnn = keras.layers.RNN(ClockworkRNNCell(64, periods=(1, 3, 7)))
        outputs = rnn(np.random.random((32, 10, 8)))  # Of shape (32, 64); `ClockworkRNN` is faster.
        ```

    References:
        - [A Clockwork RNN](https://arxiv.org/abs/1402.3511) (Koutnik et al., 2014)
    """

    def __init__(
        self,
        units: int,
        periods: Sequence[int] = (1, 2, 4, 8),
        activation: Any = "tanh",
        recurrent_initializer: Any = "orthogonal",
        **kwargs: Any,
    ) -> None:
        positive_integer("units", units)
        clock_periods("periods", periods)
        if units < len(periods):
            raise invalid("units", f"at least one for each of the {len(periods)} periods", units)
        super().__init__(units, activation=activation, recurrent_initializer=recurrent_initializer, **kwargs)
        self.periods = tuple(periods)
        share, rest = divmod(units, len(periods))
        self.module_units = tuple(share + (i < rest) for i in range(len(periods)))
        # No sequence is long enough to reach the bound, which keeps the clock in 32 bits.
        self._cycle = min(math.lcm(*periods), 2**31 - 1)
        digits = 1
        while _CLOCK_BASE**digits < self._cycle:
            digits += 1
        self._digit_values = np.array([_CLOCK_BASE**digit for digit in range(digits)], "int32")
        self.state_size = [units, digits]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shape of a step's inputs."""
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernels = [
            self.add_weight(
                shape=(sum(self.module_units[i:]), size),
                name=f"recurrent_kernel_{i}",
                initializer=with_shifted_seed(self.recurrent_initializer, i),
                regularizer=self.recurrent_regularizer,
                constraint=self.recurrent_constraint,
            )
            for i, size in enumerate(self.module_units)
        ]
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.units,),
                name="bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def call(
        self, sequence: keras.KerasTensor, states: Sequence[keras.KerasTensor], training: bool = False
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """Makes one step; see the class for arguments and result."""
        previous, clock = states
        # As in Keras' cells, both masks are drawn first and stay until the layer around the cell resets them.
        mask, recurrent_mask = self.get_dropout_mask(sequence), self.get_recurrent_dropout_mask(previous)
        if training and mask is not None:
            sequence = sequence * mask
        read = previous * recurrent_mask if training and recurrent_mask is not None else previous
        candidates = ops.matmul(sequence, self.kernel) + ops.matmul(read, self._recurrent_matrix())
        if self.bias is not None:
            candidates = candidates + self.bias
        if self.activation is not None:
            candidates = self.activation(candidates)
        time = ops.sum(ops.cast(clock, "int32") * self._digit_values, axis=-1, keepdims=True)
        periods = np.repeat(np.array(self.periods, "int32"), self.module_units)
        outputs = ops.where(time % periods == 0, candidates, previous)
        digits = (time + 1) % self._cycle // self._digit_values % _CLOCK_BASE
        return outputs, [outputs, ops.cast(digits, clock.dtype)]

    def _recurrent_matrix(self) -> keras.KerasTensor:
        """Puts `recurrent_kernels` side by side, zero where a module reads from a faster one."""
        columns = [
            ops.pad(kernel, [(self.units - kernel.shape[0], 0), (0, 0)]) for kernel in self.recurrent_kernels
        ]
        return ops.concatenate(columns, axis=1)

    def get_initial_state(self, batch_size: int | None = None) -> list[keras.KerasTensor]:
        """Returns outputs of zero and a clock at zero, in the compute dtype as Keras' RNN wants them."""
        return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in self.state_size]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "periods": list(self.periods)}
