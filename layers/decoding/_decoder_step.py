"""One step of a recurrent decoder that reads a memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from layers.attention._attention import zero_masked
from layers.decoding._decoder_cells import (
    Beams,
    check_cells,
    invalid,
    required,
    run_cells,
    sizes_of,
    width_of,
)

Tensor: TypeAlias = keras.KerasTensor
States: TypeAlias = dict[str, list[Any]]


class Table(NamedTuple):
    """What an attention reads: the memory, its keys, and where it may be read."""

    keys: Any
    memory: Tensor
    mask: Tensor | None


class DecoderSource(NamedTuple):
    """What of a source is the same in all steps, computed once by `prepare`."""

    tables: dict[str, Table]  # What "attention" and "reader" read, as far as there are these.
    residuals: (
        tuple[Tensor, Tensor] | None
    )  # What the summary adds to the first cell's input and to the output.


class DecoderStep(keras.layers.Layer):
    """The weights of an `AttentionDecoder`, and all it does but the loop; see there."""

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
        check_cells(cells, residual)
        for name, layer in (("attention", attention), ("reader", reader)):
            if layer is not None and not (hasattr(layer, "project_keys") and hasattr(layer, "attend")):
                raise invalid(name, "a layer with the methods `project_keys` and `attend`, or `None`", layer)
        if order not in ("before", "after"):
            raise invalid("order", "'before' or 'after'", repr(order))
        if input_feeding and (order == "before" or attention is reader is None):
            raise invalid(
                "input_feeding", "`False` unless an `attention` or a `reader` reads with order='after'", True
            )
        if not 0 <= dropout < 1:
            raise invalid("dropout", "a float in [0, 1)", dropout)
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
        self.state_sizes = [sizes_of(cell.state_size) for cell in self.cells]
        self.attentional_layer = None
        if order == "after" and (attention or reader):
            self.attentional_layer = self._dense(width_of(cells[-1]), activation="tanh", name="attentional")

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
        batch_size, units, context_width = inputs_shape[0], width_of(self.cells[-1]), 0
        query_width = self.state_sizes[-1][0] if self.order == "before" else units
        for name, layer in self._attentions.items():
            shape = reader_memory_shape if name == "reader" and reader_memory_shape else memory_shape
            shape = required("memory", shape, f"a decoder with `{name}`")
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
            shape = required("summary", summary_shape, "a decoder with `encoder_residual`")
            self.input_residual = self._dense(width, name="input_residual")
            self.output_residual = self._dense(units, name="output_residual")
            self.input_residual.build(shape)
            self.output_residual.build(shape)
        self._input_widths = []
        for cell in self.cells:
            if not cell.built:
                cell.build((batch_size, width))
            self._input_widths.append(width)
            width = width_of(cell)

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
            own = layer.get_initial_state(required("memory", read, f"a decoder with `{name}`"), training)
            if own:
                states[name] = own
        if self.input_feeding:
            states["feed"] = [cast(state) for state in states.get("feed", [zeros(width_of(self.cells[-1]))])]
        return states

    def prepare(
        self,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        summary: Tensor | None = None,
        reader_memory: Tensor | None = None,
        reader_memory_mask: Tensor | None = None,
        reader_values: Tensor | None = None,
    ) -> DecoderSource:
        """Computes what of a source does not depend on the step: keys, masks and what the summary adds.

        Args:
            memory: Tensor of shape `(batch, source, memory_width)`. Required with `attention`.
            memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read;
                `None` if it may be read everywhere. What lies elsewhere may be infinite.
            summary: Tensor of shape `(batch, summary_width)`. Required with `encoder_residual`.
            reader_memory: What the reader reads, of shape `(batch, slots, width)`. Defaults to `memory`.
            reader_memory_mask: Boolean tensor of shape `(batch, slots)`, or `None`.
            reader_values: Tensor of the shape of `reader_memory`, for a memory of pairs.

        Returns:
            What `step` takes as its `source`: a nested structure of tensors without an axis of beams.
        """
        if not self.built:
            raise ValueError(
                f"AttentionDecoder '{self.name}' has no weights yet. Call it once, or call "
                "`build(inputs_shape, memory_shape)`, before `prepare`."
            )
        if reader_values is not None and self.reader is None:
            raise invalid("reader_values", "`None` for a decoder without `reader`", "a tensor")
        if reader_memory is None:
            reader_memory, reader_memory_mask = memory, memory_mask
        tables = {}
        for name, layer in self._attentions.items():
            read, mask = (reader_memory, reader_memory_mask) if name == "reader" else (memory, memory_mask)
            read = required("memory", read, f"a decoder with `{name}`")
            pairs = [] if name != "reader" or reader_values is None else [reader_values]
            read, *pairs = (
                zero_masked(ops.cast(value, self.compute_dtype), mask) for value in (read, *pairs)
            )
            tables[name] = Table(layer.project_keys(read, *pairs), read, mask)
        return DecoderSource(tables, self._project_summary(summary))

    def _project_summary(self, summary: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Returns what a summary adds to the first cell's input and to the top cell's output."""
        if not self.encoder_residual:
            return None
        summary = required("summary", summary, "a decoder with `encoder_residual`")
        maps = (self.input_residual, self.output_residual)
        return tuple(ops.cast(layer(summary), self.compute_dtype) for layer in maps)

    def step(
        self, inputs: Tensor, states: States, source: DecoderSource
    ) -> tuple[Tensor, States, Tensor | None]:
        """Decodes one position, without dropout.

        Args:
            inputs: Tensor of shape `(batch, features)`, or `(batch, beams, features)` for several hypotheses
                of each source; they share all that belongs to the source, which is never repeated.
            states: As `get_initial_state` or the last step returned them, with an axis of beams after the
                batch if `inputs` has one.
            source: What `prepare` returned.

        Returns:
            The output, of shape `(batch, [beams,] output_width)`, the new states, shaped as `states`, and
            the attention's weights, of shape `(batch, [beams,] source)`, `None` without attention.
        """
        return self._step(inputs, states, source)

    def _step(
        self,
        inputs: Tensor,
        states: States,
        source: DecoderSource,
        scales: list[Tensor] | None = None,
        noises: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, States, Tensor | None]:
        """Decodes one position, in training with the scales of dropout and the noises of attentions."""
        beams = Beams(inputs)
        new_states: States = {}
        contexts: list[Tensor] = []
        weights = None
        read = partial(self._read, states=states, tables=source.tables, noises=noises or {})
        outputs = self._concatenate([inputs, *states.get("feed", [])])
        if self.attentional_layer is None:
            contexts, weights, new_states = read(states["cells"][-1][0])
            outputs = self._concatenate([outputs, *contexts])
        if source.residuals is not None:
            outputs = outputs + beams.share(source.residuals[0])
        outputs, new_states["cells"] = run_cells(
            self.cells, outputs, states["cells"], beams, self.residual, scales, self.compute_dtype
        )
        if source.residuals is not None:
            outputs = outputs + beams.share(source.residuals[1])
        if self.attentional_layer is None:
            return self._concatenate([outputs, *contexts]), new_states, weights
        contexts, weights, read_states = read(outputs)
        outputs = self.attentional_layer(self._concatenate([*contexts, outputs]))
        outputs = ops.cast(outputs, self.compute_dtype)
        if self.input_feeding:
            new_states["feed"] = [outputs]
        return outputs, {**new_states, **read_states}, weights

    def _read(
        self, query: Tensor, states: States, tables: dict[str, Table], noises: dict[str, Tensor]
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
    def from_config(cls, config: dict[str, Any]) -> DecoderStep:
        """Restores a decoder from what `get_config` returned."""
        layers = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("cells", "attention", "reader")
        }
        return cls(**{**config, **layers})
