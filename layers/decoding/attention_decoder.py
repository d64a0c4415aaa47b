"""A recurrent decoder that looks at a memory at every step (Bahdanau et al., 2015; Luong et al., 2015).

`AttentionDecoder(cells, attention=None, reader=None, order="before", input_feeding=False, residual=False,
encoder_residual=False, dropout=0.0, seed=None)` with
`get_initial_state(batch_size, memory=None, training=None, reader_memory=None) -> states`,
`step(inputs, states, keys=None, memory=None, mask=None, summary=None, reader_keys=None,
reader_memory=None, reader_mask=None) -> (outputs, states, weights)` and
`call(inputs, memory=None, initial_states=None, memory_mask=None, summary=None, reader_memory=None,
reader_memory_mask=None, reader_values=None, training=None, return_attention=False, feedback=None,
forced=None)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from layers.attention._attention import zero_masked
from layers.rnn._step_loop import concatenate, run_steps, split

Tensor: TypeAlias = keras.KerasTensor
States: TypeAlias = dict[str, list[Any]]


class _Table(NamedTuple):
    """What an attention reads: the memory, its keys, and where it may be read."""

    keys: Any
    memory: Tensor
    mask: Tensor | None


@keras.saving.register_keras_serializable(package="rnnpipe")
class AttentionDecoder(keras.layers.Layer):
    """Stacked recurrent cells that read a memory, such as an encoder's outputs, at every step.

    With `order="before"` (Bahdanau et al.) the query of step `t` is the hidden state of the top cell after
    step `t - 1`. The context `c_t` that the attention returns for it is concatenated to the input of the
    step, `[y_{t-1}; c_t]`, which the first cell reads. The output is `[s_t; c_t]`, `s_t` being the top
    cell's output.

    With `order="after"` (Luong et al.) the cells come first, and the query is `s_t`. The output is the
    attentional vector `tanh(W_c [c_t; s_t])`, as wide as `s_t`; with `input_feeding` that of the last step
    is concatenated to the input of the step, `[y_{t-1}; h_{t-1}]`, so that the decoder knows what it has
    looked at.

    A `reader` is a second attention with the same query, such as a memory network; its context is
    concatenated to that of the first, and may come from another memory. Without either the cells read
    `y_{t-1}` and the output is `s_t`.

    `call` decodes a whole known sequence (teacher forcing), `step` one position of one or several
    hypotheses; both compute the same.

    The states are a dict: `"cells"` holds for each cell the list of its states, `"attention"` and `"reader"`
    the states of those that have any, `"feed"` the last attentional vector in a list.

    Args:
        cells: List of Keras recurrent cells, such as `keras.layers.GRUCell(64)`, the lowest first. Their own
            `dropout` and `recurrent_dropout` must be 0. The first state of each is its hidden state.
        attention: `Attention` such as `BahdanauAttention`, or `None`.
        reader: `Attention` such as `MemoryNetwork` that is read as well, or `None`.
        order: `"before"` or `"after"`: when the memory is read, seen from the cells. Defaults to `"before"`.
        input_feeding: Whether the cells also read the last attentional vector; only with `order="after"`.
            Defaults to `False`.
        residual: Whether to add its input to a cell's output, from the second cell on. All cells must have
            the same width. Defaults to `False`.
        encoder_residual: Whether every step also reads the `summary` of the source, as in Cho et al.: one
            linear map of it is added to what the first cell reads, another to the top cell's output.
            Defaults to `False`.
        dropout: Float in [0, 1), fraction of each cell's inputs (the context among them) dropped in
            training. As in Keras' recurrent layers, all steps of a sequence share one mask. Defaults to 0.
        seed: Integer seed of the dropout, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, features)`, the embedded target shifted by one step.
        memory: Tensor of shape `(batch, source, memory_width)`. Required with `attention`.
        initial_states: States as `get_initial_state` returns them, which makes all that are missing; those of
            the cells are given for all of them or for none.
        memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None`
            if it may be read everywhere.
        summary: Tensor of shape `(batch, summary_width)`. Required with `encoder_residual`.
        reader_memory: What the reader reads, of shape `(batch, slots, width)`. Defaults to `memory`.
        reader_memory_mask: Boolean tensor of shape `(batch, slots)`, or `None`.
        reader_values: Tensor of the shape of `reader_memory`, for a memory of pairs, of which
            `reader_memory` holds the keys; only with a reader such as `MemoryNetwork` that takes them.
        training: Whether to apply dropout, and whether the attention is to sample.
        return_attention: Whether to return the attention's weights and states too. Defaults to `False`.
        feedback: Function of the outputs of a step, of shape `(batch, output_width)`, that returns an input
            of the next one, of shape `(batch, features)`: for scheduled sampling (Bengio et al.). It must
            not draw random numbers.
        forced: Boolean tensor of shape `(batch, time)`, required with `feedback`: `True` where a step takes
            its input, `False` where it takes what `feedback` returned. The first step takes its input.

    Returns:
        The outputs, of shape `(batch, time, width)`: `units + context_width` wide with `order="before"`,
        else `units`. With `return_attention` also the weights, of shape `(batch, time, source)`, and the
        list of the attention's states after each step, of shapes `(batch, time, ...)`.

    Example:
        ```python
        memory = np.random.random((32, 20, 64))
        targets = np.random.random((32, 10, 8))
        decoder = AttentionDecoder([keras.layers.GRUCell(16)], attention=BahdanauAttention(16))
        outputs = decoder(targets, memory=memory)  # (32, 10, 80)

        # The first of these steps, taken for five hypotheses of each source:
        keys = decoder.attention.project_keys(memory)
        states = {"cells": [[np.zeros((32, 5, 16))]]}
        inputs = np.repeat(targets[:, :1], 5, axis=1)
        outputs, states, weights = decoder.step(inputs, states, keys, memory)  # `outputs` is (32, 5, 80).
        ```

    References:
        - [Neural Machine Translation by Jointly Learning to Align and Translate](
          https://arxiv.org/abs/1409.0473) (Bahdanau et al., 2015), section 3.1 and appendix A.2.2
        - [Effective Approaches to Attention-based Neural Machine Translation](
          https://arxiv.org/abs/1508.04025) (Luong et al., 2015), sections 3 and 3.3
        - [Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation](
          https://arxiv.org/abs/1406.1078) (Cho et al., 2014), section 2.2
        - [Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks](
          https://arxiv.org/abs/1506.03099) (Bengio et al., 2015)
    """

    def __init__(
        self,
        cells: Sequence[keras.layers.Layer],
        attention: keras.layers.Layer | None = None,
        reader: keras.layers.Layer | None = None,
        order: str = "before",
        input_feeding: bool = False,
        residual: bool = False,
        encoder_residual: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        _check_cells(cells, residual)
        for name, layer in (("attention", attention), ("reader", reader)):
            if layer is not None and not (hasattr(layer, "project_keys") and hasattr(layer, "attend")):
                raise _invalid(name, "a layer with the methods `project_keys` and `attend`, or `None`", layer)
        if order not in ("before", "after"):
            raise _invalid("order", "'before' or 'after'", repr(order))
        if input_feeding and (order == "before" or attention is reader is None):
            raise _invalid(
                "input_feeding", "`False` unless an `attention` or a `reader` reads with order='after'", True
            )
        if not 0 <= dropout < 1:
            raise _invalid("dropout", "a float in [0, 1)", dropout)
        # States of attentions may have to be wider than the compute dtype.
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        self.cells = list(cells)
        self.attention = attention
        self.reader = reader
        self.order = order
        self.input_feeding = input_feeding
        self.residual = residual
        self.encoder_residual = encoder_residual
        self.dropout = dropout
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if dropout else None
        self.state_sizes = [_as_list(cell.state_size) for cell in self.cells]
        self.attentional_layer = None
        if order == "after" and (attention or reader):
            self.attentional_layer = self._dense(_width(cells[-1]), activation="tanh", name="attentional")

    def _dense(self, units: int, name: str, **kwargs: Any) -> keras.layers.Dense:
        # Without bias, as the papers have it.
        return keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name=name, **kwargs)

    @property
    def _attentions(self) -> dict[str, Any]:
        """The attentions that there are, under their names among the states."""
        both = {"attention": self.attention, "reader": self.reader}
        return {name: layer for name, layer in both.items() if layer is not None}

    def build(
        self,
        inputs_shape: Sequence[int | Any],
        memory_shape: Sequence[int | Any] | None = None,
        summary_shape: Sequence[int | Any] | None = None,
        reader_memory_shape: Sequence[int | Any] | None = None,
    ) -> None:
        """Creates the weights from the shapes of `inputs`, `memory`, `summary` and `reader_memory`."""
        batch_size, units, context_width = inputs_shape[0], _width(self.cells[-1]), 0
        query_width = self.state_sizes[-1][0] if self.order == "before" else units
        for name, layer in self._attentions.items():
            shape = reader_memory_shape if name == "reader" and reader_memory_shape else memory_shape
            shape = _required("memory", shape, f"a decoder with `{name}`")
            if not layer.built:
                layer.build((batch_size, query_width), shape)
            context_width += layer.context_width(shape[-1])
        width = inputs_shape[-1] + (units if self.input_feeding else 0)
        self.output_size = units
        if self.attentional_layer is not None:
            self.attentional_layer.build((batch_size, context_width + units))
        else:
            width += context_width
            self.output_size += context_width
        if self.encoder_residual:
            shape = _required("summary", summary_shape, "a decoder with `encoder_residual`")
            self.input_residual = self._dense(width, name="input_residual")
            self.output_residual = self._dense(units, name="output_residual")
            self.input_residual.build(shape)
            self.output_residual.build(shape)
        self._input_widths = []
        for cell in self.cells:
            if not cell.built:
                cell.build((batch_size, width))
            self._input_widths.append(width)
            width = _width(cell)

    def get_initial_state(
        self,
        batch_size: Any,
        memory: Tensor | None = None,
        training: bool | None = None,
        reader_memory: Tensor | None = None,
    ) -> States:
        """Returns the states before the first step, those of the cells zeros.

        Args:
            batch_size: How many rows the states have.
            memory: As for `call`.
            training: Whether the states are for training.
            reader_memory: As for `call`.

        Returns:
            A dict as the class describes it, of tensors of shape `(batch_size, ...)`.
        """
        return self._complete({}, batch_size, memory, training, reader_memory)

    def _complete(
        self,
        states: States,
        batch_size: Any,
        memory: Tensor | None,
        training: bool | None,
        reader_memory: Tensor | None,
    ) -> States:
        """Adds to some of the initial states those that are missing."""

        def zeros(size: int) -> Tensor:
            return ops.zeros((batch_size, size), dtype=self.compute_dtype)

        cells = states.get("cells", [[zeros(size) for size in sizes] for sizes in self.state_sizes])
        if len(cells) != len(self.cells):
            raise ValueError(
                "Received an invalid value for argument `initial_states`, expected under 'cells' one list of "
                f"states for each of the {len(self.cells)} cells, got {len(cells)}."
            )
        cast = partial(ops.cast, dtype=self.compute_dtype)
        states = {**states, "cells": keras.tree.map_structure(cast, cells)}
        for name, layer in self._attentions.items():
            if name in states:
                continue
            read = reader_memory if name == "reader" and reader_memory is not None else memory
            own = layer.get_initial_state(_required("memory", read, f"a decoder with `{name}`"), training)
            if own:
                states[name] = own
        if self.input_feeding:
            states["feed"] = [cast(state) for state in states.get("feed", [zeros(_width(self.cells[-1]))])]
        return states

    def step(
        self,
        inputs: Tensor,
        states: States,
        keys: Any = None,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        summary: Tensor | None = None,
        reader_keys: Any = None,
        reader_memory: Tensor | None = None,
        reader_mask: Tensor | None = None,
    ) -> tuple[Tensor, States, Tensor | None]:
        """Decodes one position, without dropout.

        Args:
            inputs: Tensor of shape `(batch, features)`, or `(batch, beams, features)` for several hypotheses
                of each source; they share all that belongs to the source, which is never repeated.
            states: As `get_initial_state` or the last step returned them, with an axis of beams after the
                batch if `inputs` has one.
            keys: What `attention.project_keys` made of `memory`.
            memory: Tensor of shape `(batch, source, memory_width)`, finite even where it is masked, as it was
                when its keys were projected.
            mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read.
            summary: Tensor of shape `(batch, summary_width)`, with `encoder_residual`.
            reader_keys: What `reader.project_keys` made of what the reader reads.
            reader_memory: What the reader reads, if it is not `memory`.
            reader_mask: Boolean tensor of shape `(batch, slots)`, for `reader_memory`.

        Returns:
            The output, of shape `(batch, [beams,] output_width)`, the new states, shaped as `states`, and
            the attention's weights, of shape `(batch, [beams,] source)`, `None` without attention.
        """
        if reader_memory is None:
            reader_memory, reader_mask = memory, mask
        tables = {
            "attention": _Table(keys, memory, mask),
            "reader": _Table(reader_keys, reader_memory, reader_mask),
        }
        return self._step(inputs, states, tables, self._project_summary(summary))

    def _step(
        self,
        inputs: Tensor,
        states: States,
        tables: dict[str, _Table],
        residuals: tuple[Tensor, Tensor] | None,
        scales: list[Tensor] | None = None,
        noises: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, States, Tensor | None]:
        # Cells know no beams: to them every hypothesis is a row of the batch.
        merge, unmerge, expand = _no_change, _no_change, _no_change
        if len(inputs.shape) == 3:
            merge, unmerge = _merge_beams, partial(_split_beams, ops.shape(inputs)[:2])
            expand = partial(ops.expand_dims, axis=1)
        new_states: States = {}
        contexts: list[Tensor] = []
        weights = None
        read = partial(self._read, states=states, tables=tables, noises=noises or {})
        outputs = self._concatenate([inputs, *states.get("feed", [])])
        if self.attentional_layer is None:
            contexts, weights, new_states = read(states["cells"][-1][0])
            outputs = self._concatenate([outputs, *contexts])
        if residuals is not None:
            outputs = outputs + expand(residuals[0])
        outputs, new_states["cells"] = self._run_cells(
            merge(outputs), states["cells"], merge, unmerge, scales
        )
        outputs = unmerge(outputs)
        if residuals is not None:
            outputs = outputs + expand(residuals[1])
        if self.attentional_layer is None:
            return self._concatenate([outputs, *contexts]), new_states, weights
        contexts, weights, read_states = read(outputs)
        outputs = self.attentional_layer(self._concatenate([*contexts, outputs]))
        outputs = ops.cast(outputs, self.compute_dtype)
        if self.input_feeding:
            new_states["feed"] = [outputs]
        return outputs, {**new_states, **read_states}, weights

    def _run_cells(
        self,
        outputs: Tensor,
        states: list[list[Tensor]],
        merge: Callable[[Tensor], Tensor],
        unmerge: Callable[[Tensor], Tensor],
        scales: list[Tensor] | None,
    ) -> tuple[Tensor, list[list[Tensor]]]:
        new_states = []
        for index, (cell, cell_states) in enumerate(zip(self.cells, states, strict=True)):
            cell_inputs = outputs if scales is None else outputs * scales[index]
            new_outputs, cell_states = cell(cell_inputs, [merge(state) for state in cell_states])
            # Sublayers may have a dtype policy of their own.
            new_states.append([unmerge(ops.cast(state, self.compute_dtype)) for state in cell_states])
            new_outputs = ops.cast(new_outputs, self.compute_dtype)
            outputs = new_outputs + outputs if self.residual and index > 0 else new_outputs
        return outputs, new_states

    def _read(
        self, query: Tensor, states: States, tables: dict[str, _Table], noises: dict[str, Tensor]
    ) -> tuple[list[Tensor], Tensor | None, States]:
        """Returns the contexts of the attentions, the weights of the first, and their new states."""
        contexts, new_states, weights_of = [], {}, {}
        for name, layer in self._attentions.items():
            context, weights_of[name], own = layer.attend(
                query, *tables[name], states.get(name, []), noises.get(name)
            )
            contexts.append(context)
            if own:
                new_states[name] = own
        return contexts, weights_of.get("attention"), new_states

    def _concatenate(self, tensors: Sequence[Tensor]) -> Tensor:
        tensors = [ops.cast(tensor, self.compute_dtype) for tensor in tensors]
        return tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, axis=-1)

    def _project_summary(self, summary: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Returns what a summary adds to the first cell's input and to the top cell's output."""
        if not self.encoder_residual:
            return None
        summary = _required("summary", summary, "a decoder with `encoder_residual`")
        maps = (self.input_residual, self.output_residual)
        return tuple(ops.cast(layer(summary), self.compute_dtype) for layer in maps)

    def call(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        initial_states: States | None = None,
        memory_mask: Tensor | None = None,
        summary: Tensor | None = None,
        reader_memory: Tensor | None = None,
        reader_memory_mask: Tensor | None = None,
        reader_values: Tensor | None = None,
        training: bool | None = None,
        return_attention: bool = False,
        feedback: Callable[[Tensor], Tensor] | None = None,
        forced: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, list[Tensor]]:
        """Decodes whole sequences with known inputs; see the class for arguments and result."""
        if return_attention and self.attention is None:
            raise _invalid("return_attention", "`False` for a decoder without attention", True)
        if (feedback is None) != (forced is None):
            raise ValueError(
                "Received only one of the arguments `feedback` and `forced`, expected both or neither."
            )
        if reader_values is not None and self.reader is None:
            raise _invalid("reader_values", "`None` for a decoder without `reader`", "a tensor")
        batch_size, time = ops.shape(inputs)[:2]
        if reader_memory is None:
            reader_memory, reader_memory_mask = memory, memory_mask
        tables, noises = {}, {}
        for name, layer in self._attentions.items():
            read, mask = (reader_memory, reader_memory_mask) if name == "reader" else (memory, memory_mask)
            read = _required("memory", read, f"a decoder with `{name}`")
            pairs = [] if name != "reader" or reader_values is None else [reader_values]
            read, *pairs = (zero_masked(ops.cast(each, self.compute_dtype), mask) for each in (read, *pairs))
            tables[name] = _Table(layer.project_keys(read, *pairs), read, mask)
            noise = layer.draw_noise(batch_size, time, ops.shape(read)[1]) if training else None
            if noise is not None:
                noises[name] = noise
        initial_states = self._complete(initial_states or {}, batch_size, memory, training, reader_memory)
        residuals = self._project_summary(summary)
        scales = self._dropout_scales(batch_size) if training and self.dropout else None

        def step(inputs: Tensor, states: States, step_noises: list[Tensor]) -> tuple[Tensor, States]:
            named_noises = dict(zip(noises, step_noises, strict=True))
            outputs, states, weights = self._step(inputs, states, tables, residuals, scales, named_noises)
            if return_attention:
                packed = [outputs, weights, *states.get("attention", [])]
                outputs = concatenate([ops.cast(each, output_dtype) for each in packed])
            return outputs, states

        read_states = initial_states.get("attention", [])
        state_dtypes = [keras.backend.standardize_dtype(state.dtype) for state in read_states]
        output_dtype = self.compute_dtype
        if return_attention:
            # Half precision rounds integers, such as positions, above 256 or 2048.
            floats = ["float32" if keras.backend.is_int_dtype(dtype) else dtype for dtype in state_dtypes]
            output_dtype = keras.backend.result_type(output_dtype, *floats)
        outputs = run_steps(
            step,
            ops.cast(inputs, self.compute_dtype),
            initial_states,
            list(noises.values()),
            output_dtype,
            feedback=feedback and (lambda outputs: feedback(outputs[..., : self.output_size])),
            forced=forced,
        )
        if not return_attention:
            return outputs
        widths = [self.output_size, ops.shape(memory)[1], *(ops.shape(state)[-1] for state in read_states)]
        outputs, weights, *read_states = split(outputs, widths)
        outputs, weights = (ops.cast(each, self.compute_dtype) for each in (outputs, weights))
        return outputs, weights, list(map(ops.cast, read_states, state_dtypes))

    def _dropout_scales(self, batch_size: Any) -> list[Tensor]:
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
            "reader": keras.saving.serialize_keras_object(self.reader),
            "order": self.order,
            "input_feeding": self.input_feeding,
            "residual": self.residual,
            "encoder_residual": self.encoder_residual,
            "dropout": self.dropout,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttentionDecoder:
        """Makes a decoder from what `get_config` returned."""
        layers = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("cells", "attention", "reader")
        }
        return cls(**{**config, **layers})


def _check_cells(cells: Any, residual: bool) -> None:
    if not isinstance(cells, list | tuple) or not cells:
        raise _invalid("cells", "a non-empty list of recurrent cells", cells)
    for cell in cells:
        if not hasattr(cell, "state_size"):
            raise _invalid("cells", "recurrent cells such as `keras.layers.GRUCell(64)`", cell)
        if getattr(cell, "dropout", 0) or getattr(cell, "recurrent_dropout", 0):
            raise _invalid(
                "cells", "cells without dropout of their own (pass `dropout` to the decoder)", cell
            )
    widths = [_width(cell) for cell in cells]
    if residual and len(set(widths)) > 1:
        raise _invalid("cells", "cells of the same width for `residual`", f"the widths {widths}")


def _invalid(argument: str, expected: str, received: Any) -> ValueError:
    return ValueError(
        f"Received an invalid value for argument `{argument}`, expected {expected}, got {received}."
    )


def _required(argument: str, value: Any, needed_by: str) -> Any:
    """Returns a call argument, or its shape, that the decoder's options need."""
    if value is None:
        shape = {"memory": "(batch, source, memory_width)", "summary": "(batch, summary_width)"}[argument]
        raise ValueError(
            f"Received no value for argument `{argument}`, expected a tensor of shape `{shape}` for "
            f"{needed_by}."
        )
    return value


def _as_list(size: int | Sequence[int]) -> list[int]:
    return [size] if isinstance(size, int) else list(size)


def _width(cell: Any) -> int:
    """Returns the width of a cell's output."""
    return getattr(cell, "output_size", None) or _as_list(cell.state_size)[0]


def _no_change(tensor: Tensor) -> Tensor:
    return tensor


def _merge_beams(tensor: Tensor) -> Tensor:
    return ops.reshape(tensor, (-1, tensor.shape[-1]))


def _split_beams(batch_and_beams: tuple[int, int], tensor: Tensor) -> Tensor:
    return ops.reshape(tensor, (*batch_and_beams, tensor.shape[-1]))
