"""Echo state networks: fixed random recurrent layers, of which only a readout is trained (Jaeger, 2001)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from layers.rnn.echo_state_rnn_cell import EchoStateRNNCell

# From one feature for so many units on, the product of all inputs at once is faster than one in each step.
_UNITS_PER_FEATURE = 16
# From so many units on, of which each reads at most such a part, sparse products are faster on a CPU.
_SPARSE_UNITS, _SPARSE_CONNECTIVITY = 1000, 0.05


@keras.saving.register_keras_serializable(package="rnnpipe")
class EchoStateRNN(keras.layers.RNN):
    """A recurrent layer of fixed random weights, whose states hold a fading memory of the inputs.

    It has no trainable weights: train what reads its outputs, by gradient descent or in closed form (see
    `RidgeSums`). `RecurrentStack` makes it deep and bidirectional. See `EchoStateRNNCell` for the equation
    and for how the weights are drawn.

    On TensorFlow without an accelerator, large sparse reservoirs are run by sparse products. XLA cannot
    compile them (`supports_jit` tells Keras); with `unroll` the products are dense.

    Args:
        units: Positive integer, dimensionality of the state.
        spectral_radius: Positive float, the largest absolute eigenvalue of the recurrent kernel. Defaults
            to 0.9.
        leak_rate: Float in (0, 1], the part of the state renewed at each step. Defaults to 1.
        input_scaling: Non-negative float, the largest absolute weight of an input. Defaults to 1.
        bias_scaling: Non-negative float, the largest absolute bias. Defaults to 0.
        connectivity: Float in (0, 1], the fraction of the units that a unit reads. Defaults to `None`:
            10 units, or all if there are fewer.
        activation: Activation function. Defaults to `"tanh"`. `None` for the identity.
        seed: Non-negative integer from which all weights are drawn. Defaults to `None`: another one for
            each layer, which `keras.utils.set_random_seed` makes reproducible.
        return_sequences: Whether to return the states of all steps instead of the last one. Defaults to
            `False`.
        return_state: Whether to return the final state, too. Defaults to `False`.
        go_backwards: Whether to read the sequences from their ends, and to return the reversed sequence.
            Defaults to `False`.
        stateful: Whether each batch starts from the final states of the one before. Defaults to `False`.
        unroll: Whether to unroll the loop, which can be faster for short sequences. Defaults to `False`.
        **kwargs: Arguments of `keras.layers.RNN`.

    Call arguments:
        sequences: Tensor of shape `(batch, time, features)`.
        initial_state: List of one tensor of shape `(batch, units)`. Defaults to zeros.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are. The state
            stays as it is at the other steps.
        training: Without effect.

    Returns:
        The state after the last step, of shape `(batch, units)`, or of all steps, of shape
        `(batch, time, units)`, if `return_sequences`; followed by the final state, of shape
        `(batch, units)`, if `return_state`.

    Example:
        ```python
        inputs = np.random.random((32, 10, 8))
        layer = EchoStateRNN(100, spectral_radius=0.95, leak_rate=0.3, return_sequences=True, seed=1)
        states = layer(inputs)  # `states` has shape (32, 10, 100).
        ```

    References:
        - [The "echo state" approach to analysing and training recurrent neural networks](
          https://doi.org/10.24406/publica-fhg-291111) (Jaeger, 2001)
        - [A Practical Guide to Applying Echo State Networks](
          https://doi.org/10.1007/978-3-642-35289-8_36) (Lukoševičius, 2012)
    """

    def __init__(
        self,
        units: int,
        spectral_radius: float = 0.9,
        leak_rate: float = 1.0,
        input_scaling: float = 1.0,
        bias_scaling: float = 0.0,
        connectivity: float | None = None,
        activation: str | Callable[[Any], Any] | None = "tanh",
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        **kwargs: Any,
    ) -> None:
        cell = EchoStateRNNCell(
            units,
            spectral_radius=spectral_radius,
            leak_rate=leak_rate,
            input_scaling=input_scaling,
            bias_scaling=bias_scaling,
            connectivity=connectivity,
            activation=activation,
            seed=seed,
            dtype=kwargs.get("dtype"),
            name="echo_state_rnn_cell",
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            **kwargs,
        )
        self.input_spec = [keras.layers.InputSpec(ndim=3)]
        self._is_sparse = self._sparse_is_faster()
        self.supports_jit = not self._is_sparse

    def _sparse_is_faster(self) -> bool:
        """Whether to run the steps with sparse products, which XLA cannot compile."""
        if keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf

        return (
            all(device.device_type == "CPU" for device in tf.config.list_physical_devices())
            and self.cell.units >= _SPARSE_UNITS
            and self.cell.degree <= _SPARSE_CONNECTIVITY * self.cell.units
            # Others may mix units, or be slow on their transpose.
            and self.cell.activation in (keras.activations.tanh, keras.activations.relu)
            and self.cell.compute_dtype in ("float32", "float64")
            and not (self.unroll or self.zero_output_for_mask)
        )

    def inner_loop(
        self,
        sequences: keras.KerasTensor,
        initial_state: list[keras.KerasTensor],
        mask: keras.KerasTensor | None,
        training: bool = False,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor, list[keras.KerasTensor]]:
        """Runs all steps; `keras.layers.RNN` calls it."""
        if self._is_sparse:
            return self._sparse_loop(sequences, initial_state[0], mask)
        if sequences.shape[-1] * _UNITS_PER_FEATURE < self.cell.units:
            return super().inner_loop(sequences, initial_state, mask, training)
        loop = keras.layers.RNN(
            _DrivenCell(self.cell),
            return_sequences=self.return_sequences,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
        )
        return loop.inner_loop(self.cell.drive(sequences), initial_state, mask)

    def _sparse_loop(
        self, sequences: keras.KerasTensor, initial_state: keras.KerasTensor, mask: keras.KerasTensor | None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor, list[keras.KerasTensor]]:
        from layers.rnn._sparse_reservoir import sparse_reservoir  # Needs TensorFlow.

        if self.go_backwards:
            sequences, mask = ops.flip(sequences, 1), None if mask is None else ops.flip(mask, 1)
        cell = self.cell
        last_output, outputs, state = sparse_reservoir(
            sequences,
            initial_state,
            mask,
            kernel=ops.convert_to_tensor(cell.kernel),
            recurrent_kernel=ops.convert_to_tensor(cell.recurrent_kernel),
            bias=ops.convert_to_tensor(cell.bias),
            activation=cell.activation,
            leak_rate=cell.leak_rate,
            return_sequences=self.return_sequences,
        )
        return last_output, outputs, [state]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {**self.cell.get_config(), **super().get_config()}
        del config["cell"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EchoStateRNN:
        """Makes a layer from what `get_config` returned."""
        return cls(**config)


class _DrivenCell:
    """What is left of a cell in the loop once one product has computed the drive of all steps."""

    def __init__(self, cell: EchoStateRNNCell) -> None:
        self.cell = cell
        self.state_size = cell.state_size

    def call(
        self, drive: keras.KerasTensor, states: Sequence[keras.KerasTensor]
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        state = self.cell.update(drive, states[0])
        return state, [state]

    __call__ = call
