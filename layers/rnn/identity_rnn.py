"""Rectified linear units started as an identity (IRNN; Le, Jaitly and Hinton, 2015)."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="rnnpipe")
class IdentityRNN(keras.layers.SimpleRNN):
    """Simple recurrent network of rectified linear units whose recurrent kernel starts as the identity.

    Each step computes `h(t) = relu(x(t) W + h(t-1) U + b)` with `U = I`, `b = 0` and a tiny `W` at first. So
    an untrained network adds up what it reads and forgets nothing: the gradient of an active unit neither
    vanishes nor explodes, however long the sequence.

    Nothing bounds the units. Once training moves an eigenvalue of `U` beyond 1 in absolute value, states
    and gradients grow exponentially with the length of the sequence, and one such step undoes all others.
    The paper therefore clips gradients: give the optimizer a `global_clipnorm`, such as 1, and a small
    learning rate.

    Args:
        units: Positive integer, width of the outputs and the state.
        activation: Activation function. Defaults to `"relu"`.
        use_bias: Whether the layer has a bias. Defaults to `True`.
        kernel_initializer: Initializer of `W`. Defaults to a normal distribution of standard deviation 0.001.
        recurrent_initializer: Initializer of `U`. Defaults to `"identity"`. For tasks with short
            dependencies the paper scales it: `keras.initializers.Identity(gain=0.01)`.
        **kwargs: All other arguments of `keras.layers.SimpleRNN`, with its defaults.

    Call arguments:
        sequences: Tensor of shape `(batch, time, features)`.
        initial_state: List with one tensor of shape `(batch, units)`. Zeros by default.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are.
        training: Whether to apply dropout.

    Returns:
        As `keras.layers.SimpleRNN`: the last output, of shape `(batch, units)`; with `return_sequences` all
        of them, of shape `(batch, time, units)`; with `return_state` also the last state.

    Example:
        ```python
        model = keras.Sequential([IdentityRNN(100), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01, global_clipnorm=1.0), "mse")
        model.fit(np.random.random((32, 100, 2)), np.random.random((32, 1)))
        ```

    Reference:
        [A Simple Way to Initialize Recurrent Networks of Rectified Linear Units](
        https://arxiv.org/abs/1504.00941) (Le et al., 2015)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "relu",
        use_bias: bool = True,
        kernel_initializer: Any = None,
        recurrent_initializer: Any = "identity",
        **kwargs: Any,
    ) -> None:
        if kernel_initializer is None:
            # Here and not as a default: one initializer gives all kernels of a shape the same values.
            kernel_initializer = keras.initializers.RandomNormal(stddev=0.001)
        super().__init__(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "seed": self.cell.seed}  # `SimpleRNN` leaves the seed out.
