"""One step of a long short-term memory without some of its gates (Greff et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from layers._validation import fraction, invalid, positive_integer

GATES = ("input", "forget", "output")
# What the columns of the kernels are for, in the order of `keras.layers.LSTMCell`.
_BLOCKS = ("input", "forget", "candidate", "output")


@keras.saving.register_keras_serializable(package="rnnpipe")
class LSTMVariantCell(keras.layers.LSTMCell):
    """Cell class for `LSTMVariant`: one step of a long short-term memory with the gates that are wanted.

    A step with inputs `x` takes the hidden state `h` and the carry `c` to

    - `i, f, o = s(x W_i + h U_i + b_i), s(x W_f + h U_f + b_f), s(x W_o + h U_o + b_o)`, the gates,
    - `c <- f * c + i * g(x W_c + h U_c + b_c)`,
    - `h <- o * g(c)`,

    with the activation `g` and the recurrent activation `s`. A gate that `gates` leaves out is 1 and has no
    weights. If `coupled`, `f = 1 - i` and the forget gate has no weights. With all gates, uncoupled, this is
    `keras.layers.LSTMCell`, weight by weight.

    In the terms of Greff et al., whose cells have peephole connections besides (so that this one is always
    `NP`), no input gate is `NIG`, no forget gate `NFG`, no output gate `NOG`, and coupled gates are `CIFG`.

    Args:
        units: Positive integer, dimensionality of the hidden state and of the carry.
        gates: Which gates there are, of `"input"`, `"forget"` and `"output"`. Defaults to all of them.
        coupled: Whether the forget gate is 1 minus the input gate; both must be among `gates`. Defaults to
            `False`.
        unit_forget_bias: Whether to add 1 to the initial bias of the forget gate, or if it is coupled -1 to
            that of the input gate, which for a sigmoid is the same. Defaults to `True`.
        dropout: Float in [0, 1), fraction of the inputs dropped in training. Defaults to 0.
        recurrent_dropout: Float in [0, 1), fraction of the hidden state dropped in training where it is read.
            Defaults to 0.
        **kwargs: The other arguments of `keras.layers.LSTMCell`: `activation`, `recurrent_activation`,
            `use_bias`, initializers, regularizers, constraints, `seed`, and those of `keras.layers.Layer`.

    Attributes:
        kernel: Variable of shape `(features, blocks * units)`, with a block of columns for the candidate and
            for every gate that has weights: the input gate, the forget gate, the candidate, the output gate.
        recurrent_kernel: Variable of shape `(units, blocks * units)`.
        bias: Variable of shape `(blocks * units,)`, or `None`.

    Call arguments:
        sequence: Tensor of shape `(batch, features)`.
        states: The hidden state and the carry before the step, both of shape `(batch, units)`.
        training: Whether to apply dropout.

    Returns:
        The hidden state after the step, of shape `(batch, units)`, and the list of the new states.

    Example:
        ```python
        rnn = keras.layers.RNN(LSTMVariantCell(64, gates=("forget",)))
        outputs = rnn(np.random.random((32, 10, 8)))  # Of shape (32, 64).
        ```

    References:
        - [LSTM: A Search Space Odyssey](https://arxiv.org/abs/1503.04069) (Greff et al., 2017)
        - [Learning to Forget](https://doi.org/10.1162/089976600300015015) (Gers et al., 2000)
    """

    def __init__(
        self,
        units: int,
        gates: Sequence[str] = GATES,
        coupled: bool = False,
        unit_forget_bias: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        positive_integer("units", units)
        fraction("dropout", dropout, one=False)
        fraction("recurrent_dropout", recurrent_dropout, one=False)
        known = isinstance(gates, list | tuple) and all(gate in GATES for gate in gates)
        if not known or len(set(gates)) < len(gates):
            raise invalid("gates", f"a list of different ones of {', '.join(map(repr, GATES))}", gates)
        if coupled and not {"input", "forget"} <= set(gates):
            raise invalid("coupled", "`False` without an input and a forget gate", f"{coupled} for {gates}")
        super().__init__(
            units,
            unit_forget_bias=unit_forget_bias,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            **kwargs,
        )
        self.gates = tuple(gate for gate in GATES if gate in gates)
        self.coupled = coupled
        weighted = {"candidate", *self.gates} - ({"forget"} if coupled else set())
        self._blocks = tuple(block for block in _BLOCKS if block in weighted)
        if (
            self.implementation == 1
        ):  # As in Keras with `recurrent_dropout`, every block has a mask of its own.
            self.dropout_mask_count = len(self._blocks)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shape of a step's inputs."""
        columns = len(self._blocks) * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], columns),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, columns),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(columns,),
                name="bias",
                initializer=self._initial_bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _initial_bias(self, shape: tuple[int, ...], dtype: str | None = None) -> keras.KerasTensor:
        bias = self.bias_initializer(shape, dtype=dtype)
        if not self.unit_forget_bias:
            return bias
        more = {"input": -1.0} if self.coupled else {"forget": 1.0}
        return bias + ops.cast(np.repeat([more.get(block, 0.0) for block in self._blocks], self.units), dtype)

    def call(
        self, sequence: keras.KerasTensor, states: Sequence[keras.KerasTensor], training: bool = False
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """Makes one step; see the class for arguments and result."""
        hidden, carry = states
        mask = self.get_dropout_mask(sequence) if training else None
        recurrent_mask = self.get_recurrent_dropout_mask(hidden) if training else None
        sums = _project(sequence, self.kernel, mask)
        sums = sums + _project(hidden, self.recurrent_kernel, recurrent_mask)
        if self.bias is not None:
            sums = sums + self.bias
        blocks = dict(zip(self._blocks, ops.split(sums, len(self._blocks), axis=-1), strict=True))
        candidate = self.activation(blocks.pop("candidate"))
        openings = {gate: self.recurrent_activation(block) for gate, block in blocks.items()}
        if self.coupled:
            openings["forget"] = 1 - openings["input"]

        def passed(gate: str, tensor: keras.KerasTensor) -> keras.KerasTensor:
            return openings[gate] * tensor if gate in openings else tensor

        carry = passed("forget", carry) + passed("input", candidate)
        hidden = passed("output", self.activation(carry))
        return hidden, [hidden, carry]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "gates": list(self.gates), "coupled": self.coupled}


def _project(tensor: keras.KerasTensor, kernel: keras.KerasTensor, mask: Any) -> keras.KerasTensor:
    """Multiplies what a dropout mask, or one mask for every block of columns, leaves over by a kernel."""
    if not isinstance(mask, list):
        return ops.matmul(tensor if mask is None else tensor * mask, kernel)
    blocks = ops.split(kernel, len(mask), axis=1)
    return ops.concatenate(
        [ops.matmul(tensor * own, block) for own, block in zip(mask, blocks, strict=True)], axis=-1
    )
