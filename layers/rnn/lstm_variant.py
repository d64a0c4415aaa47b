"""The long short-term memory without some of its gates (Greff et al., 2017), as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from layers.rnn.lstm_variant_cell import GATES, LSTMVariantCell


@keras.saving.register_keras_serializable(package="rnnpipe")
class LSTMVariant(keras.layers.RNN):
    """Long short-term memory with gates removed or coupled, to see what they are worth.

    See `LSTMVariantCell` for the equations. With all gates, uncoupled, it computes what `keras.layers.LSTM`
    does, which is faster on a GPU.

    Args:
        units: Positive integer, dimensionality of the hidden state and of the carry.
        gates: Which gates there are, of `"input"`, `"forget"` and `"output"`; one that is left out is always
            open. Defaults to all of them.
        coupled: Whether the forget gate is 1 minus the input gate; both must be among `gates`. Defaults to
            `False`.
        activation: Activation function of the candidate, and of the carry where it becomes the output.
            Defaults to hyperbolic tangent.
        recurrent_activation: Activation function of the gates. Defaults to the sigmoid.
        use_bias: Whether to add a bias. Defaults to `True`.
        kernel_initializer: Initializer of the input kernel. Defaults to `"glorot_uniform"`.
        recurrent_initializer: Initializer of the recurrent kernel. Defaults to `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        unit_forget_bias: Whether to add 1 to the initial bias of the forget gate, or if it is coupled -1 to
            that of the input gate. Defaults to `True`.
        kernel_regularizer: Regularizer of the input kernel, or `None`.
        recurrent_regularizer: Regularizer of the recurrent kernel, or `None`.
        bias_regularizer: Regularizer of the bias, or `None`.
        kernel_constraint: Constraint of the input kernel, or `None`.
        recurrent_constraint: Constraint of the recurrent kernel, or `None`.
        bias_constraint: Constraint of the bias, or `None`.
        dropout: Float in [0, 1), fraction of the inputs dropped in training, the same ones at all steps of a
            sequence. Defaults to 0.
        recurrent_dropout: Float in [0, 1), fraction of the hidden state dropped in training where it is read,
            the same units at all steps. Defaults to 0.
        seed: Integer seed of both dropouts, or `None`.
        **kwargs: Arguments of `keras.layers.RNN`: `return_sequences`, `return_state`, `go_backwards`,
            `stateful`, `zero_output_for_mask`, `unroll`, and those of `keras.layers.Layer`.

    Call arguments:
        sequences: Tensor of shape `(batch, time, features)`.
        initial_state: List of two tensors of shape `(batch, units)`, the hidden state and the carry. Defaults
            to zeros.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are. The states
            stay as they are at the other steps.
        training: Whether to apply dropout.

    Returns:
        The hidden state after the last step, of shape `(batch, units)`, or with `return_sequences` after all
        steps, of shape `(batch, time, units)`. With `return_state`, also the final hidden state and carry,
        both of shape `(batch, units)`.

    Example:
        ```python
        inputs = np.random.random((32, 100, 8))
        outputs = LSTMVariant(64, coupled=True)(inputs)  # Of shape (32, 64).
        ```

    References:
        - [LSTM: A Search Space Odyssey](https://arxiv.org/abs/1503.04069) (Greff et al., 2017)
        - [A Theoretically Grounded Application of Dropout in Recurrent Neural Networks](
          https://arxiv.org/abs/1512.05287) (Gal and Ghahramani, 2016)
    """

    cell: LSTMVariantCell

    def __init__(
        self,
        units: int,
        gates: Sequence[str] = GATES,
        coupled: bool = False,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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
        cell = LSTMVariantCell(
            units,
            gates=gates,
            coupled=coupled,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
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
            name="lstm_variant_cell",
        )
        super().__init__(cell, **kwargs)
        self.input_spec = [keras.layers.InputSpec(ndim=3)]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        del config["cell"]
        return {**self.cell.get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LSTMVariant:
        """Makes a layer from what `get_config` returned."""
        return cls(**config)
