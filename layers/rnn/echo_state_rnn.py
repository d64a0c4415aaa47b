"""Echo state networks: fixed random recurrent layers, of which only a readout is trained.

`EchoStateRNN(units, spectral_radius=0.9, leak_rate=1.0, input_scaling=1.0, bias_scaling=0.0,
connectivity=None, activation="tanh", seed=None)`, and `EchoStateRNNCell` for one step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import sparse
from scipy.sparse.linalg import ArpackError, eigs

# Up to this size, computing all eigenvalues is as fast as searching for the largest.
_DENSE_UNITS = 200
# From one feature for so many units on, the product of all inputs at once is faster than one in each step.
_UNITS_PER_FEATURE = 16
# From so many units on, of which each reads at most such a part, sparse products are faster on a CPU.
_SPARSE_UNITS, _SPARSE_CONNECTIVITY = 1000, 0.05


@keras.saving.register_keras_serializable(package="rnnpipe")
class EchoStateRNNCell(keras.layers.Layer):
    """Cell class for `EchoStateRNN`: one step of a leaky echo state network.

    A step with inputs `u` takes the state `x` to `(1 - a) * x + a * f(u @ K + x @ R + b)`, with the leak
    rate `a` and the activation `f`. The kernel `K`, the recurrent kernel `R` and the bias `b` are drawn
    when the cell is built, saved with the model, and not trainable:

    - Every unit reads `round(connectivity * units)` randomly chosen units, itself perhaps among them, but
      at least one. These entries of `R` are uniform in [-1, 1), then scaled to `spectral_radius`; the
      others are 0.
    - `K` is dense, uniform in [-`input_scaling`, `input_scaling`).
    - `b` is uniform in [-`bias_scaling`, `bias_scaling`).

    Args:
        units: Positive integer, dimensionality of the state.
        spectral_radius: Positive float, the largest absolute eigenvalue of the recurrent kernel. The larger
            it is, the longer the memory; from somewhere above 1 on, the state no longer forgets where it
            started. Defaults to 0.9.
        leak_rate: Float in (0, 1], the part of the state renewed at each step. Defaults to 1.
        input_scaling: Non-negative float, the largest absolute weight of an input. Defaults to 1.
        bias_scaling: Non-negative float, the largest absolute bias. Defaults to 0.
        connectivity: Float in (0, 1], the fraction of the units that a unit reads. Defaults to `None`:
            10 units, or all if there are fewer, which is enough at any size.
        activation: Activation function. Defaults to `"tanh"`. `None` for the identity.
        seed: Non-negative integer from which all weights are drawn. Defaults to `None`: another one for
            each cell, which `keras.utils.set_random_seed` makes reproducible.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        sequence: Tensor of shape `(batch, features)`.
        states: List of one tensor of shape `(batch, units)`, the state before the step.

    Returns:
        The state after the step, of shape `(batch, units)`, and a list of it.

    Example:
        ```python
        inputs = np.random.random((32, 10, 8))
        cell = EchoStateRNNCell(100, spectral_radius=0.95, leak_rate=0.3, seed=1)
        outputs = keras.layers.RNN(cell)(inputs)  # `outputs` has shape (32, 100).
        ```

    References:
        - [The "echo state" approach to analysing and training recurrent neural networks](
          https://doi.org/10.24406/publica-fhg-291111) (Jaeger, 2001)
        - [Optimization and applications of echo state networks with leaky-integrator neurons](
          https://doi.org/10.1016/j.neunet.2007.04.016) (Jaeger et al., 2007)
        - [A Practical Guide to Applying Echo State Networks](
          https://doi.org/10.1007/978-3-642-35289-8_36) (Lukoševičius, 2012), equations 2 and 3
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
        **kwargs: Any,
    ) -> None:
        _check("units", units, isinstance(units, int) and units > 0, "a positive integer")
        _check("spectral_radius", spectral_radius, 0 < spectral_radius < np.inf, "a positive float")
        _check("leak_rate", leak_rate, 0 < leak_rate <= 1, "a float in (0, 1]")
        _check("input_scaling", input_scaling, 0 <= input_scaling < np.inf, "a non-negative float")
        _check("bias_scaling", bias_scaling, 0 <= bias_scaling < np.inf, "a non-negative float")
        if connectivity is not None:
            _check("connectivity", connectivity, 0 < connectivity <= 1, "`None` or a float in (0, 1]")
        if seed is not None:
            _check("seed", seed, isinstance(seed, int) and seed >= 0, "`None` or a non-negative integer")
        super().__init__(**kwargs)
        self.units = units
        self.spectral_radius = spectral_radius
        self.leak_rate = leak_rate
        self.input_scaling = input_scaling
        self.bias_scaling = bias_scaling
        self.connectivity = connectivity
        self.degree = min(10, units) if connectivity is None else max(1, round(connectivity * units))
        self.activation = keras.activations.get(activation)
        self.seed = seed
        # As Keras' initializers do it: `keras.utils.set_random_seed` sets Python's generator, too.
        self._actual_seed = random.getrandbits(32) if seed is None else seed
        self.state_size = units
        self.output_size = units

    def build(self, sequence_shape: Sequence[Any]) -> None:
        """Draws the weights for inputs of shape `(batch, features)`."""
        generator = np.random.default_rng(self._actual_seed)
        recurrent_kernel = self._draw_recurrent_kernel(generator)
        bias = generator.uniform(-self.bias_scaling, self.bias_scaling, self.units)
        features = sequence_shape[-1]
        _check("sequence_shape", sequence_shape, features is not None, "a known number of features")
        kernel = generator.uniform(-self.input_scaling, self.input_scaling, (features, self.units))
        self.kernel = self._add_fixed_weight("kernel", kernel)
        self.recurrent_kernel = self._add_fixed_weight("recurrent_kernel", recurrent_kernel)
        self.bias = self._add_fixed_weight("bias", bias)

    def _draw_recurrent_kernel(self, generator: np.random.Generator) -> np.ndarray:
        units = self.units
        # Because every unit reads one, there is a cycle, without which the spectral radius would always be 0.
        reads = generator.permuted(np.tile(np.arange(units) < self.degree, (units, 1)), axis=1)
        # A row holds what a unit reads, as in the papers' W; `x @ R` needs the transpose.
        kernel = np.where(reads, generator.uniform(-1, 1, (units, units)), 0.0).T
        return kernel * (self.spectral_radius / _spectral_radius(kernel))

    def _add_fixed_weight(self, name: str, value: np.ndarray) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=value.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(value, dtype=dtype),
            trainable=False,
        )

    def call(
        self, sequence: keras.KerasTensor, states: Sequence[keras.KerasTensor]
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """Runs one step; see the class for arguments and result."""
        state = self.update(self.drive(sequence), states[0])
        return state, [state]

    def drive(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns `inputs @ K + b`, the part of steps that no state enters, of shape `(..., units)`."""
        return ops.add(ops.matmul(inputs, self.kernel), self.bias)

    def update(self, drive: keras.KerasTensor, state: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the state after a step, given its `drive`; all have shape `(batch, units)`."""
        new = self.activation(ops.add(drive, ops.matmul(state, self.recurrent_kernel)))
        return new if self.leak_rate == 1 else (1 - self.leak_rate) * state + self.leak_rate * new

    def get_initial_state(self, batch_size: int | None = None) -> list[keras.KerasTensor]:
        """Returns a list of one tensor of zeros of shape `(batch_size, units)`."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype)]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "spectral_radius": self.spectral_radius,
            "leak_rate": self.leak_rate,
            "input_scaling": self.input_scaling,
            "bias_scaling": self.bias_scaling,
            "connectivity": self.connectivity,
            "activation": keras.activations.serialize(self.activation),
            "seed": self.seed,
        }


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


def _check(argument: str, value: Any, valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(
            f"Received an invalid value for argument `{argument}`, expected {expected}, got {value}."
        )


def _spectral_radius(matrix: np.ndarray) -> float:
    """Returns the largest absolute eigenvalue of a square matrix."""
    if len(matrix) > _DENSE_UNITS:
        try:
            # Several, because their sizes are so alike; from a fixed start, to be reproducible.
            values = eigs(sparse.csr_array(matrix), k=6, v0=np.ones(len(matrix)), return_eigenvectors=False)
            return float(np.abs(values).max())
        except ArpackError:  # No convergence.
            pass
    return float(np.abs(np.linalg.eigvals(matrix)).max())
