"""The decoder of Bahdanau et al. (2015): recurrent cells that look at a memory at every step.

`AttentionDecoder(cells, attention=None, dropout=0.0, seed=None)` with
`step(inputs, states, keys=None, memory=None, mask=None) -> (outputs, states, weights)`,
`get_initial_state(batch_size) -> states` and `call(inputs, memory=None, initial_states=None,
memory_mask=None, training=None, return_weights=False) -> outputs` (or `(outputs, weights)`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

States = list[list[keras.KerasTensor]]


@keras.saving.register_keras_serializable(package="rnnpipe")
class AttentionDecoder(keras.layers.Layer):
    """Stacked recurrent cells that read a memory, such as an encoder's outputs, before every step.

    The query of step `t` is the hidden state of the top cell after step `t - 1`. The context `c_t` that the
    attention returns for it is concatenated to the input of the step, `[y_{t-1}; c_t]`, which the first cell
    reads; the output is `[s_t; c_t]`, `s_t` being the top cell's output. Without attention the cells
    read `y_{t-1}` and the output is `s_t`.

    `call` decodes a whole known sequence (teacher forcing), `step` one position of one or several
    hypotheses; both compute the same.

    Args:
        cells: List of Keras recurrent cells, such as `keras.layers.GRUCell(64)`, the lowest first. Their own
            `dropout` and `recurrent_dropout` must be 0.
        attention: Layer with `project_keys` and `attend`, such as `BahdanauAttention`, or `None`.
        dropout: Float in [0, 1), fraction of each cell's inputs (the context among them) dropped in
            training. As in Keras' recurrent layers, all steps of a sequence share one mask. Defaults to 0.
        seed: Integer seed of the dropout, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, features)`, the embedded target shifted by one step.
        memory: Tensor of shape `(batch, source, memory_width)`. Required with attention, not read without.
        initial_states: For each cell the list of its states, each of shape `(batch, cell_units)`. Zeros by
            default.
        memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None`
            if it may be read everywhere.
        training: Whether to apply dropout.
        return_weights: Whether to return the attention's weights too. Defaults to `False`.

    Returns:
        The outputs, of shape `(batch, time, units + memory_width)` (`(batch, time, units)` without
        attention); with `return_weights` also the weights, of shape `(batch, time, source)`.

    Example:
        ```python
        memory = np.random.random((32, 20, 64))
        targets = np.random.random((32, 10, 8))
        decoder = AttentionDecoder([keras.layers.GRUCell(16)], attention=BahdanauAttention(16))
        outputs = decoder(targets, memory=memory)  # (32, 10, 80)

        # The first of these steps, taken for five hypotheses of each source:
        keys = decoder.attention.project_keys(memory)
        states = [[np.zeros((32, 5, 16))]]
        inputs = np.repeat(targets[:, :1], 5, axis=1)
        outputs, states, weights = decoder.step(inputs, states, keys, memory)  # `outputs` is (32, 5, 80).
        ```

    Reference:
        [Neural Machine Translation by Jointly Learning to Align and Translate](
        https://arxiv.org/abs/1409.0473) (Bahdanau et al., 2015), section 3.1 and appendix A.2.2
    """

    def __init__(
        self,
        cells: Sequence[keras.layers.Layer],
        attention: keras.layers.Layer | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(cells, list | tuple) or not cells:
            raise ValueError(
                "Received an invalid value for argument `cells`, expected a non-empty list of recurrent "
                f"cells, got {cells}."
            )
        for cell in cells:
            if not hasattr(cell, "state_size"):
                raise ValueError(
                    "Received an invalid value for argument `cells`, expected recurrent cells such as "
                    f"`keras.layers.GRUCell(64)`, got {cell}."
                )
            if getattr(cell, "dropout", 0) or getattr(cell, "recurrent_dropout", 0):
                raise ValueError(
                    "Received an invalid value for argument `cells`, expected cells without dropout of their "
                    f"own (pass `dropout` to the decoder), got {cell}."
                )
        if attention is not None and not (
            hasattr(attention, "project_keys") and hasattr(attention, "attend")
        ):
            raise ValueError(
                "Received an invalid value for argument `attention`, expected a layer with the methods "
                f"`project_keys` and `attend`, or `None`, got {attention}."
            )
        if not 0 <= dropout < 1:
            raise ValueError(
                "Received an invalid value for argument `dropout`, expected a float in [0, 1), "
                f"got {dropout}."
            )
        super().__init__(**kwargs)
        self.supports_masking = True
        self.cells = list(cells)
        self.attention = attention
        self.dropout = dropout
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if dropout else None
        self.state_sizes = [_as_list(cell.state_size) for cell in self.cells]

    def build(
        self, inputs_shape: Sequence[int | Any], memory_shape: Sequence[int | Any] | None = None
    ) -> None:
        """Creates the weights from the shapes of `inputs` and `memory`."""
        batch_size, width, context_width = inputs_shape[0], inputs_shape[-1], 0
        if self.attention is not None:
            memory_shape = _required(memory_shape)
            if not self.attention.built:
                self.attention.build((batch_size, self.state_sizes[-1][0]), memory_shape)
            context_width = memory_shape[-1]
        width += context_width
        self._input_widths = []
        for cell, sizes in zip(self.cells, self.state_sizes, strict=True):
            if not cell.built:
                cell.build((batch_size, width))
            self._input_widths.append(width)
            width = getattr(cell, "output_size", None) or sizes[0]
        self.output_size = width + context_width

    def get_initial_state(self, batch_size: int) -> States:
        """Returns states of zeros.

        Args:
            batch_size: How many rows the states have.

        Returns:
            For each cell the list of its states, each of shape `(batch_size, cell_units)`.
        """
        return [
            [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in sizes]
            for sizes in self.state_sizes
        ]

    def step(
        self,
        inputs: keras.KerasTensor,
        states: States,
        keys: keras.KerasTensor | None = None,
        memory: keras.KerasTensor | None = None,
        mask: keras.KerasTensor | None = None,
    ) -> tuple[keras.KerasTensor, States, keras.KerasTensor | None]:
        """Decodes one position, without dropout.

        Args:
            inputs: Tensor of shape `(batch, features)`, or `(batch, beams, features)` for several hypotheses
                of each source; they share the source's keys and memory, which are never repeated.
            states: For each cell the list of its states, each of shape `(batch, [beams,] cell_units)`.
            keys: What `attention.project_keys` made of `memory`.
            memory: Tensor of shape `(batch, source, memory_width)`.
            mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read.

        Returns:
            The output, of shape `(batch, [beams,] units + memory_width)`, the new states, shaped as
            `states`, and the attention's weights, of shape `(batch, [beams,] source)`, `None` without
            attention.
        """
        return self._step(inputs, states, keys, memory, mask, scales=None)

    def _step(
        self,
        inputs: keras.KerasTensor,
        states: States,
        keys: keras.KerasTensor | None,
        memory: keras.KerasTensor | None,
        mask: keras.KerasTensor | None,
        scales: list[keras.KerasTensor] | None,
    ) -> tuple[keras.KerasTensor, States, keras.KerasTensor | None]:
        outputs = ops.cast(inputs, self.compute_dtype)
        context = weights = None
        if self.attention is not None:
            context, weights = self.attention.attend(states[-1][0], keys, memory, mask)
            context = ops.cast(context, self.compute_dtype)
            outputs = ops.concatenate([outputs, context], axis=-1)
        # Cells know no beams: to them every hypothesis is a row of the batch.
        merge, split = _no_change, _no_change
        if len(inputs.shape) == 3:
            merge, split = _merge_beams, partial(_split_beams, ops.shape(inputs)[:2])
        outputs = merge(outputs)
        new_states = []
        for index, (cell, cell_states) in enumerate(zip(self.cells, states, strict=True)):
            if scales is not None:
                outputs = outputs * scales[index]
            outputs, cell_states = cell(outputs, [merge(state) for state in cell_states])
            # Sublayers may have a dtype policy of their own, but a loop's states must keep their dtype.
            new_states.append([split(ops.cast(state, self.compute_dtype)) for state in cell_states])
        outputs = split(ops.cast(outputs, self.compute_dtype))
        if context is not None:
            outputs = ops.concatenate([outputs, context], axis=-1)
        return outputs, new_states, weights

    def call(
        self,
        inputs: keras.KerasTensor,
        memory: keras.KerasTensor | None = None,
        initial_states: States | None = None,
        memory_mask: keras.KerasTensor | None = None,
        training: bool | None = None,
        return_weights: bool = False,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, keras.KerasTensor]:
        """Decodes whole sequences with known inputs; see the class for arguments and result."""
        if return_weights and self.attention is None:
            raise ValueError(
                "Received an invalid value for argument `return_weights`, expected `False` for a decoder "
                "without attention, got True."
            )
        batch_size = ops.shape(inputs)[0]
        if initial_states is None:
            initial_states = self.get_initial_state(batch_size)
        if len(initial_states) != len(self.cells):
            raise ValueError(
                "Received an invalid value for argument `initial_states`, expected one list of states for "
                f"each of the {len(self.cells)} cells, got {len(initial_states)}."
            )
        keys = None if self.attention is None else self.attention.project_keys(_required(memory))
        scales = self._dropout_scales(batch_size) if training and self.dropout else None
        step = partial(self._step, keys=keys, memory=memory, mask=memory_mask, scales=scales)
        cell = _StepCell(step, self.state_sizes, self.compute_dtype, return_weights)
        loop = keras.layers.RNN(cell, return_sequences=True, dtype=self.dtype_policy, name="loop")
        # `call` and not `__call__`, which would let a mask that the inputs carry repeat steps of the output.
        outputs = loop.call(inputs, initial_state=keras.tree.flatten(initial_states))
        if not return_weights:
            return outputs
        return outputs[..., : self.output_size], outputs[..., self.output_size :]

    def _dropout_scales(self, batch_size: int) -> list[keras.KerasTensor]:
        return [
            keras.random.dropout(
                ops.ones((batch_size, width), dtype=self.compute_dtype),
                self.dropout,
                seed=self.seed_generator,
            )
            for width in self._input_widths
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "cells": [keras.saving.serialize_keras_object(cell) for cell in self.cells],
            "attention": keras.saving.serialize_keras_object(self.attention),
            "dropout": self.dropout,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttentionDecoder:
        """Makes a decoder from what `get_config` returned."""
        cells = [keras.saving.deserialize_keras_object(cell) for cell in config["cells"]]
        attention = keras.saving.deserialize_keras_object(config["attention"])
        return cls(**{**config, "cells": cells, "attention": attention})


class _StepCell:
    """One call's decoding step as `keras.layers.RNN` wants its cell.

    The step holds keys and memory, so that the loop captures instead of carrying them, and the object lives
    as long as the call, so that calls from several threads do not meet.
    """

    def __init__(
        self, step: Any, state_sizes: list[list[int]], compute_dtype: str, return_weights: bool
    ) -> None:
        self.step = step
        self.state_sizes = state_sizes
        self.state_size = keras.tree.flatten(state_sizes)
        self.compute_dtype = compute_dtype
        self.return_weights = return_weights

    def call(
        self, inputs: keras.KerasTensor, states: Sequence[keras.KerasTensor]
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        nested = keras.tree.pack_sequence_as(self.state_sizes, list(states))
        outputs, new_states, weights = self.step(inputs, nested)
        if self.return_weights:
            outputs = ops.concatenate([outputs, weights], axis=-1)
        return outputs, keras.tree.flatten(new_states)

    __call__ = call


def _required(memory: Any) -> Any:
    """Returns the memory, or its shape, which a decoder with attention must be given."""
    if memory is None:
        raise ValueError(
            "Received no value for argument `memory`, expected a tensor of shape "
            "`(batch, source, memory_width)` for a decoder with attention."
        )
    return memory


def _as_list(size: int | Sequence[int]) -> list[int]:
    return [size] if isinstance(size, int) else list(size)


def _no_change(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return tensor


def _merge_beams(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return ops.reshape(tensor, (-1, tensor.shape[-1]))


def _split_beams(batch_and_beams: tuple[int, int], tensor: keras.KerasTensor) -> keras.KerasTensor:
    return ops.reshape(tensor, (*batch_and_beams, tensor.shape[-1]))
