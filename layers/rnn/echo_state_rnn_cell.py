"""One step of an echo state network, and how its fixed weights are drawn (Jaeger, 2001)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend.common.stateless_scope import in_stateless_scope
from scipy import sparse
from scipy.sparse.linalg import ArpackError, eigs

from layers._validation import (
    fraction,
    invalid,
    non_negative_float,
    non_negative_integer,
    positive_float,
    positive_integer,
)

# Up to this size, computing all eigenvalues is as fast as searching for the largest.
_DENSE_UNITS = 200


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
        positive_integer("units", units)
        positive_float("spectral_radius", spectral_radius)
        fraction("leak_rate", leak_rate, zero=False)
        non_negative_float("input_scaling", input_scaling)
        non_negative_float("bias_scaling", bias_scaling)
        fraction("connectivity", connectivity, zero=False, optional=True)
        non_negative_integer("seed", seed, optional=True)
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
        features, units = sequence_shape[-1], self.units
        if features is None:
            raise invalid("sequence_shape", "a known number of features", sequence_shape)

        @cache
        def draw() -> dict[str, np.ndarray]:
            """Called for the values, and not where only the shapes are asked for."""
            generator = np.random.default_rng(self._actual_seed)
            return {
                "recurrent_kernel": self._draw_recurrent_kernel(generator),
                "bias": generator.uniform(-self.bias_scaling, self.bias_scaling, units),
                "kernel": generator.uniform(-self.input_scaling, self.input_scaling, (features, units)),
            }

        self.kernel = self._add_fixed_weight("kernel", (features, units), draw)
        self.recurrent_kernel = self._add_fixed_weight("recurrent_kernel", (units, units), draw)
        self.bias = self._add_fixed_weight("bias", (units,), draw)

    def _draw_recurrent_kernel(self, generator: np.random.Generator) -> np.ndarray:
        units = self.units
        # Because every unit reads one, there is a cycle, without which the spectral radius would always be 0.
        reads = generator.permuted(np.tile(np.arange(units) < self.degree, (units, 1)), axis=1)
        # A row holds what a unit reads, as in the papers' W; `x @ R` needs the transpose.
        kernel = np.where(reads, generator.uniform(-1, 1, (units, units)), 0.0).T
        return kernel * (self.spectral_radius / _spectral_radius(kernel))

    def _add_fixed_weight(
        self, name: str, shape: tuple[int, ...], draw: Callable[[], dict[str, np.ndarray]]
    ) -> keras.Variable:
        def initializer(shape: tuple[int, ...], dtype: str) -> keras.KerasTensor:
            # There Keras asks for any values: the variable has none yet, and only shapes matter.
            return (
                ops.zeros(shape, dtype)
                if in_stateless_scope()
                else ops.convert_to_tensor(draw()[name], dtype)
            )

        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
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
        # Not `ops.add`, which takes the product for a bias if there are no rows.
        new = self.activation(drive + ops.matmul(state, self.recurrent_kernel))
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
