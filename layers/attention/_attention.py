"""What attentions have in common, and what a decoder may ask of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

Tensor: TypeAlias = keras.KerasTensor


class Attention(keras.layers.Layer):
    """Base of the attentions: reads a memory once for every query.

    The context is the sum of the memory's positions, each with its weight. Subclasses say in `align` how the
    weights come from query and keys, and in `project_keys` what of the memory does not depend on the query:
    a decoder computes that once per source. Several queries of one source (the beams of a search, the steps
    of a sequence) share its memory and keys, which are never repeated.

    An attention that looks at its own past, or that is trained by sampling, has states: `get_initial_state`
    makes them, `attend` takes and returns them. A decoder carries them from step to step as it does its
    cells'. What is random in training comes in as `noise`, drawn ahead of the loop over the steps.
    """

    def context_width(self, memory_width: int) -> int:
        """Returns the width of the context: that of the memory, of whose positions it is a sum.

        Args:
            memory_width: Width of the memory.
        """
        return memory_width

    def project_keys(self, memory: Tensor) -> Any:
        """Returns what `align` compares with its queries; the memory itself by default.

        Args:
            memory: Tensor of shape `(batch, source, memory_width)`.
        """
        return ops.cast(memory, self.compute_dtype)

    def get_initial_state(self, memory: Tensor, training: bool | None = None) -> list[Tensor]:
        """Returns the states before the first step, tensors of shape `(batch, ...)`; none by default.

        Args:
            memory: Tensor of shape `(batch, source, memory_width)`.
            training: Whether the states are for training.
        """
        return []

    def draw_noise(self, batch: Any, queries: Any, source: Any) -> Tensor | None:
        """Draws what `attend` needs in training for all its queries; nothing by default.

        Args:
            batch: Number of rows.
            queries: Number of queries of each row.
            source: Number of positions of the memory.

        Returns:
            Tensor of shape `(batch, queries, source)`, or `None`.
        """
        return None

    def align(
        self,
        query: Tensor,
        keys: Any,
        mask: Tensor | None,
        states: Sequence[Tensor],
        noise: Tensor | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Returns the weights, of shape `(batch, queries, source)`, and the new states.

        Args:
            query: Tensor of shape `(batch, queries, query_width)`.
            keys: What `project_keys` returned.
            mask: Boolean tensor of shape `(batch, 1, source)`, `True` where the memory may be read.
            states: Tensors of shape `(batch, queries, ...)`.
            noise: Part of what `draw_noise` returned, of shape `(batch, queries, source)`; `None` outside of
                training.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it weighs the memory.")

    def attend(
        self,
        query: Tensor,
        keys: Any,
        memory: Tensor,
        mask: Tensor | None = None,
        states: Sequence[Tensor] = (),
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Reads the memory once for every query.

        Args:
            query: Tensor of shape `(batch, query_width)` or `(batch, queries, query_width)`.
            keys: What `project_keys` made of `memory`.
            memory: Tensor of shape `(batch, source, memory_width)`, finite even where it is masked, as it was
                when its keys were projected: see `zero_masked`.
            mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read.
            states: What `get_initial_state` or the last call returned; with a `queries` axis after `batch` if
                the query has one.
            noise: In training, what `draw_noise` returned for these queries, of shape
                `(batch, [queries,] source)`. `None` is inference.

        Returns:
            The context, of shape `(batch, [queries,] memory_width)`, the weights, of shape
            `(batch, [queries,] source)`, and the new states.
        """
        memory = ops.cast(memory, self.compute_dtype)
        single = len(query.shape) == 2
        if single:
            query, noise = _expand(query), None if noise is None else _expand(noise)
            states = [_expand(state) for state in states]
        if mask is not None:
            mask = ops.expand_dims(ops.cast(mask, "bool"), axis=1)
        weights, states = self.align(query, keys, mask, states, noise)
        weights = ops.cast(weights, self.compute_dtype)
        context = ops.matmul(weights, memory)  # Faster to train than `ops.einsum`.
        if single:
            context, weights = ops.squeeze(context, axis=1), ops.squeeze(weights, axis=1)
            states = [ops.squeeze(state, axis=1) for state in states]
        return context, weights, list(states)

    def call(
        self,
        query: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Projects the memory and reads it once for every query; see the class for arguments and result."""
        memory = zero_masked(memory, memory_mask)
        states = self.get_initial_state(memory, training)
        queries = 1
        if len(query.shape) == 3:
            queries = ops.shape(query)[1]
            states = [ops.repeat(_expand(state), queries, axis=1) for state in states]
        noise = None
        if training:
            noise = self.draw_noise(ops.shape(query)[0], queries, ops.shape(memory)[1])
        if noise is not None and len(query.shape) == 2:
            noise = ops.squeeze(noise, axis=1)
        keys = self.project_keys(memory)
        context, weights, _ = self.attend(query, keys, memory, memory_mask, states, noise)
        return context, weights

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Returns no mask: that of the memory does not fit the outputs, which no longer contain it."""

    def _require_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' has no weights yet. Call it once, or call "
                "`build(query_shape, memory_shape)`, before `project_keys`."
            )


def zero_masked(memory: Tensor, mask: Tensor | None) -> Tensor:
    """Puts zeros where a memory is masked.

    A weight of 0 is not enough: what lies there may be infinite, and 0 times that is NaN. This is done once
    per source, before the keys are projected.

    Args:
        memory: Tensor of shape `(batch, source, memory_width)`.
        mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None` if it
            may be read everywhere.
    """
    if mask is None:
        return memory
    mask = ops.expand_dims(ops.cast(mask, "bool"), axis=-1)
    return ops.where(mask, memory, ops.zeros_like(memory))


def project(dense: keras.layers.Dense, tensor: Tensor) -> Tensor:
    """Applies a dense layer to the last axis, as one product of matrices whatever the other axes.

    On its own, it turns axes of unknown size, and XLA cannot compile that within a loop.

    Args:
        dense: The layer.
        tensor: Tensor of shape `(..., width)`.

    Returns:
        Tensor of shape `(..., units)`.
    """
    *leading, width = ops.shape(tensor)
    return ops.reshape(dense(ops.reshape(tensor, (-1, width))), (*leading, dense.units))


def linear_scores(score: Callable[[Tensor], Tensor], query: Tensor) -> Tensor:
    """Returns `score(query)`, dot products of the query, without overflow.

    Half precision ends at 65504. The sum over a width of 512 is beyond that where queries and keys are 12, so
    that the query is scaled down first and the scores are scaled up in float32. Only a single product beyond
    65504 still overflows. The scale is a power of 2, which rounds nothing.

    Args:
        score: Function that is linear in the query.
        query: Tensor of shape `(..., query_width)`.

    Returns:
        The scores, in float32 if the query is in float16.
    """
    if keras.backend.standardize_dtype(query.dtype) != "float16":
        return score(query)
    scale = 2.0 ** math.ceil(math.log2(query.shape[-1]))
    return ops.cast(score(query / scale), "float32") * scale


def _expand(tensor: Tensor) -> Tensor:
    return ops.expand_dims(tensor, axis=1)
