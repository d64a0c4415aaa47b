"""Deep, bidirectional and residual stacks of any recurrent layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from layers._no_rows import through_a_row
from layers._validation import fraction, invalid, positive_integer


@keras.saving.register_keras_serializable(package="rnnpipe")
class RecurrentStack(keras.layers.Layer):
    """Stacks a recurrent layer on itself, in one direction or in both.

    Every layer of the stack has the configuration of `layer` and weights of its own. Padding never shows:
    a row gives the same outputs and final states alone as in a batch with longer rows, its outputs at
    padded steps are 0, and so are all outputs and states of a row without any real step. A backward layer
    starts at each row's last real step.

    Args:
        layer: A `keras.layers.RNN` such as `keras.layers.GRU(64)`, the template of the stack's layers. It
            is only read. Its `return_sequences` and `return_state` do not matter.
        depth: Positive integer, how many layers stand on each other. Defaults to 1.
        bidirectional: Whether each layer reads the sequence in both directions and concatenates the two
            outputs. Defaults to `False`.
        residual: Whether to add its input to a layer's output, from the second layer on (the first one's
            input has another width). Defaults to `False`.
        dropout: Float in [0, 1), fraction of each layer's inputs dropped in training. As in Keras'
            recurrent layers, all steps of a sequence share one mask. Defaults to 0.
        seed: Integer seed of the dropout, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`. `dtype` defaults to the policy of `layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, features)`.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are. On a GPU,
            Keras' `LSTM` and `GRU` take right-padded sequences only.
        training: Whether to apply dropout.

    Returns:
        The outputs of the last layer, of shape `(batch, time, units)`, or `(batch, time, 2 * units)` if
        bidirectional, and a list with the final states of each layer: for each layer a list of tensors of
        shape `(batch, units)`, two for LSTM, one for GRU and SimpleRNN. The states of a bidirectional layer
        are those of its two directions, concatenated to `(batch, 2 * units)`.

    Example:
        ```python
        inputs = np.random.random((32, 10, 8))
        encoder = RecurrentStack(keras.layers.LSTM(16), depth=2, bidirectional=True)
        outputs, states = encoder(inputs)  # `outputs` has shape (32, 10, 32).
        hidden, carry = states[-1]  # Each has shape (32, 32).
        ```

    References:
        - [Bidirectional Recurrent Neural Networks](https://doi.org/10.1109/78.650093)
          (Schuster and Paliwal, 1997)
        - [Google's Neural Machine Translation System](https://arxiv.org/abs/1609.08144)
          (Wu et al., 2016), for residual connections between recurrent layers
        - [A Theoretically Grounded Application of Dropout in Recurrent Neural Networks](
          https://arxiv.org/abs/1512.05287) (Gal and Ghahramani, 2016)
    """

    def __init__(
        self,
        layer: keras.layers.RNN,
        depth: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(layer, keras.layers.RNN) or layer.go_backwards or layer.stateful:
            expected = "a `keras.layers.RNN` with `go_backwards=False` and `stateful=False`"
            raise invalid("layer", expected, layer)
        positive_integer("depth", depth)
        fraction("dropout", dropout, one=False)
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(**kwargs)
        self.supports_masking = True
        self.depth = depth
        self.bidirectional = bidirectional
        self.residual = residual
        self.dropout = dropout
        self.seed = seed
        # The configuration instead of the layer, which would be tracked and saved as a part of the stack.
        self._template = keras.saving.serialize_keras_object(layer)
        self._template.pop("build_config", None)
        self.layers = [self._make_layer(layer, index) for index in range(depth)]
        self.dropouts = [
            keras.layers.Dropout(
                dropout,
                noise_shape=(None, 1, None),
                seed=None if seed is None else seed + index,
                dtype=self.dtype_policy,
            )
            for index in range(depth)
        ]

    def _make_layer(self, template: keras.layers.RNN, index: int) -> keras.layers.Layer:
        forward = self._clone(template, 2 * index, f"forward_{index}", go_backwards=False)
        if not self.bidirectional:
            return forward
        backward = self._clone(template, 2 * index + 1, f"backward_{index}", go_backwards=True)
        return keras.layers.Bidirectional(
            forward, backward_layer=backward, dtype=self.dtype_policy, name=f"bidirectional_{index}"
        )

    def _clone(
        self, template: keras.layers.RNN, seed_offset: int, name: str, go_backwards: bool
    ) -> keras.layers.RNN:
        config = _with_shifted_seeds(template.get_config(), seed_offset)
        config |= {
            "name": name,
            "dtype": self.dtype_policy,
            "go_backwards": go_backwards,
            "return_sequences": True,
            "return_state": True,
        }
        return type(template).from_config(config)

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shape of `inputs`."""
        for layer in self.layers:
            layer.build(inputs_shape)
            inputs_shape = layer.compute_output_shape(inputs_shape)[0]

    def call(
        self,
        inputs: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        training: bool | None = None,
    ) -> tuple[keras.KerasTensor, list[list[keras.KerasTensor]]]:
        """Runs the stack over the sequences; see the class for arguments and result."""
        if inputs.shape[0] == 0:
            return through_a_row(partial(self.call, training=training), inputs, mask)
        outputs, states = inputs, []
        layer_mask = None
        if mask is not None:
            mask = ops.cast(mask, "bool")
            nonempty = ops.any(mask, axis=1, keepdims=True)
            # cuDNN refuses rows without a real step. They read their first one, and the result is dropped.
            first = ops.arange(ops.shape(mask)[1]) == 0
            layer_mask = ops.logical_or(mask, ops.logical_and(first, ops.logical_not(nonempty)))
        for index, (layer, dropout) in enumerate(zip(self.layers, self.dropouts, strict=True)):
            residual = outputs if self.residual and index > 0 else None
            outputs, *final = layer(dropout(outputs, training=training), mask=layer_mask, training=training)
            if self.bidirectional:
                forward, backward = final[: len(final) // 2], final[len(final) // 2 :]
                final = keras.tree.map_structure(_concatenate, forward, backward)
            if mask is not None:
                outputs = _zero_unless(ops.expand_dims(mask, axis=-1), outputs)
                final = keras.tree.map_structure(partial(_zero_unless, nonempty), final)
            if residual is not None:
                outputs = outputs + residual
            states.append(final)
        return outputs, states

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "layer": copy.deepcopy(dict(self._template)),
            "depth": self.depth,
            "bidirectional": self.bidirectional,
            "residual": self.residual,
            "dropout": self.dropout,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RecurrentStack:
        """Makes a stack from what `get_config` returned."""
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def _concatenate(*tensors: keras.KerasTensor) -> keras.KerasTensor:
    return ops.concatenate(tensors, axis=-1)


def _zero_unless(condition: keras.KerasTensor, tensor: keras.KerasTensor) -> keras.KerasTensor:
    return ops.where(condition, tensor, ops.zeros_like(tensor))


def _with_shifted_seeds(config: Any, offset: int) -> Any:
    """Copies a configuration with `offset` added to its integer seeds, so that clones differ."""
    if isinstance(config, dict):
        return {
            key: value + offset
            if key == "seed" and isinstance(value, int)
            else _with_shifted_seeds(value, offset)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [_with_shifted_seeds(value, offset) for value in config]
    return config
