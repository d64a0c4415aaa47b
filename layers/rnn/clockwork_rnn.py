"""The Clockwork RNN (Koutnik et al., 2014), as a fast layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._validation import invalid
from layers.rnn._clockwork_cascade import LONGEST_REPEAT, clockwork_cascade
from layers.rnn.clockwork_rnn_cell import ClockworkRNNCell


@keras.saving.register_keras_serializable(package="rnnpipe")
class ClockworkRNN(keras.layers.RNN):
    """Clockwork RNN: modules of units that are updated at different periods.

    Computes exactly what `keras.layers.RNN(ClockworkRNNCell(...))` does, from the same weights in the same
    order, but module after module instead of step after step (`layers/rnn/_clockwork_cascade.py`). It runs
    the cell step by step if `stateful`, and in training if `recurrent_dropout` is not 0.

    The clock counts a row's real steps, from 0 at its first one. So padding never shows, be it on the right,
    on the left or in between: the outputs at real steps and the final state are those of the row without its
    masked steps. At a masked step the output is that of the last real step before it, and 0 if there is none.
    A row without any real step keeps its initial state, and its outputs are 0.

    Args:
        units: Positive integer, at least one for each period. What the modules cannot share evenly goes to
            the fastest ones, one unit each.
        periods: Increasing positive integers, one for each module; any will do, but those that divide the
            next one are the fastest. Defaults to `(1, 2, 4, 8)`.
        activation: Activation function. Defaults to hyperbolic tangent.
        use_bias: Whether to add a bias. Defaults to `True`.
        kernel_initializer: Initializer of the input kernel. Defaults to `"glorot_uniform"`.
        recurrent_initializer: Initializer of each module's recurrent kernel. Defaults to `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the input kernel, or `None`.
        recurrent_regularizer: Regularizer of each module's recurrent kernel, or `None`.
        bias_regularizer: Regularizer of the bias, or `None`.
        kernel_constraint: Constraint of the input kernel, or `None`.
        recurrent_constraint: Constraint of each module's recurrent kernel, or `None`.
        bias_constraint: Constraint of the bias, or `None`.
        dropout: Float in [0, 1], fraction of the inputs dropped in training, the same ones at all steps of a
            sequence. Defaults to 0.
        recurrent_dropout: Float in [0, 1], fraction of the outputs dropped in training where modules read
            them, the same ones at all steps. Defaults to 0.
        seed: Integer seed of both dropouts, or `None`.
        **kwargs: Arguments of `keras.layers.RNN`: `return_sequences`, `return_state`, `go_backwards`,
            `stateful` (the clock goes on from batch to batch, too), `zero_output_for_mask`, `unroll` (where
            the cell runs step by step), and those of `keras.layers.Layer`.

    Call arguments:
        sequences: Tensor of shape `(batch, time, features)`.
        initial_state: Tensor of shape `(batch, units)`, or a list of one: the outputs before the first step.
            Defaults to zeros. The clock starts at 0 with it.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are.
        training: Whether to apply dropout.

    Returns:
        The outputs of the last step, of shape `(batch, units)`, or with `return_sequences` of all steps, of
        shape `(batch, time, units)`. With `return_state`, also the final state, of shape `(batch, units)`.

    Example:
        ```python
        inputs = np.random.random((32, 100, 8))
        outputs = ClockworkRNN(64, periods=(1, 2, 4, 8, 16))(inputs)  # Of shape (32, 64).
        ```

    References:
        - [A Clockwork RNN](https://arxiv.org/abs/1402.3511) (Koutnik et al., 2014)
    """

    cell: ClockworkRNNCell

    def __init__(
        self,
        units: int,
        periods: Sequence[int] = (1, 2, 4, 8),
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = ClockworkRNNCell(
            units,
            periods,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="clockwork_rnn_cell",
        )
        super().__init__(cell, **kwargs)
        self.input_spec = [keras.layers.InputSpec(ndim=3)]
        # What the layer shows of its states: not the clock.
        self.state_size = [units]

    @property
    def units(self) -> int:
        """Number of units."""
        return self.cell.units

    @property
    def periods(self) -> tuple[int, ...]:
        """Periods of the modules."""
        return self.cell.periods

    def call(
        self,
        sequences: keras.KerasTensor,
        initial_state: keras.KerasTensor | Sequence[keras.KerasTensor] | None = None,
        mask: keras.KerasTensor | None = None,
        training: bool = False,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, keras.KerasTensor]:
        """Runs over the sequences; see the class for arguments and result."""
        start, clock = self.cell.get_initial_state(ops.shape(sequences)[0])
        if initial_state is not None:
            given = keras.tree.flatten(initial_state)
            if len(given) != 1 or given[0].shape[1:] != (self.units,):
                expected = f"one tensor of shape (batch, {self.units}), as the clock starts at 0"
                shapes = [tuple(state.shape) for state in given]
                raise invalid("initial_state", expected, f"shapes {shapes}")
            start = given[0]
        if self.stateful or (training and self.cell.recurrent_dropout > 0):
            goes_on = self.stateful and initial_state is None
            states = None if goes_on else [start, clock]
            results = super().call(sequences, initial_state=states, mask=mask, training=training)
            return results[:2] if self.return_state else results
        start = ops.cast(start, self.compute_dtype)
        outputs, state = self._run_cascade(sequences, start, mask, training)
        return (outputs, state) if self.return_state else outputs

    def _run_cascade(
        self,
        sequences: keras.KerasTensor,
        start: keras.KerasTensor,
        mask: keras.KerasTensor | None,
        training: bool,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        cell = self.cell
        if training and cell.dropout > 0:
            sequences = sequences * cell.get_dropout_mask(sequences[:, 0])[:, None]
            cell.reset_dropout_mask()
        if mask is not None:
            mask = ops.cast(mask, "bool")
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        if mask is None:
            lengths, inputs = None, ops.transpose(sequences, (1, 0, 2))
        else:
            lengths, inputs = ops.sum(ops.cast(mask, "int32"), axis=1), _real_steps_first(sequences, mask)
        modules = clockwork_cascade(
            inputs,
            start,
            ops.convert_to_tensor(cell.kernel),
            [ops.convert_to_tensor(kernel) for kernel in cell.recurrent_kernels],
            None if cell.bias is None else ops.convert_to_tensor(cell.bias),
            cell.periods,
            cell.activation or keras.activations.linear,
            lengths,
        )
        state = ops.concatenate([module[-1] for module in modules], axis=1)
        if self.return_sequences and mask is None:
            time = ops.shape(sequences)[1]
            outputs = [
                _held(module, period, time) for module, period in zip(modules, cell.periods, strict=True)
            ]
            return ops.concatenate(outputs, axis=2), state
        if mask is None:
            return state, state
        counts = ops.cumsum(ops.cast(mask, "int32"), axis=1)
        shown = mask if self.zero_output_for_mask else counts > 0
        if self.return_sequences:
            latest = ops.maximum(counts - 1, 0)
            outputs = [
                _take_steps(module, latest // period)
                for module, period in zip(modules, cell.periods, strict=True)
            ]
            outputs = ops.concatenate(outputs, axis=2)
        else:
            shown, outputs = shown[:, -1], state
        return ops.where(shown[..., None], outputs, ops.zeros_like(outputs)), state

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        del config["cell"]
        return {**self.cell.get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ClockworkRNN:
        """Makes a layer from what `get_config` returned."""
        return cls(**config)


def _real_steps_first(sequences: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
    """Returns `(time, batch, features)` with each row's real steps moved to its start, in their order."""
    batch, time, features = ops.shape(sequences)
    steps = ops.arange(time)
    order = ops.argsort(ops.where(mask, steps, steps + time), axis=1)
    rows = ops.cast(order, "int32") + ops.arange(batch)[:, None] * time
    return _take_rows(ops.reshape(sequences, (-1, features)), ops.transpose(rows))


def _take_steps(module: keras.KerasTensor, steps: keras.KerasTensor) -> keras.KerasTensor:
    """Returns `(batch, time, units)`: for each row and time the output of one active step of a module."""
    _, batch, units = ops.shape(module)
    rows = steps * batch + ops.arange(batch)[:, None]
    return _take_rows(ops.reshape(module, (-1, units)), rows)


def _take_rows(matrix: keras.KerasTensor, rows: keras.KerasTensor) -> keras.KerasTensor:
    """Returns `(*shape of rows, width)`; of a matrix without rows, JAX returns another shape."""
    return ops.reshape(ops.take(matrix, rows, axis=0), (*ops.shape(rows), matrix.shape[-1]))


def _held(module: keras.KerasTensor, period: int, time: int) -> keras.KerasTensor:
    """Returns `(batch, time, units)`: the outputs of a module, each held for a period."""
    if period > LONGEST_REPEAT:
        return ops.take(ops.transpose(module, (1, 0, 2)), ops.arange(time) // period, axis=1)
    steps, batch, units = ops.shape(module)
    held = ops.reshape(
        ops.tile(ops.transpose(module, (1, 0, 2)), (1, 1, period)), (batch, steps * period, units)
    )
    return held if held.shape[1] == time else held[:, :time]
