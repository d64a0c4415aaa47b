"""A loop over the steps of sequences that runs any step function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

Tensor: TypeAlias = keras.KerasTensor


def run_steps(
    step: Callable[[Tensor, Any, list[Tensor]], tuple[Tensor, Any]],
    inputs: Tensor,
    states: Any,
    noises: Sequence[Tensor] = (),
    output_dtype: str | None = None,
    feedback: Callable[[Tensor], Tensor] | None = None,
    forced: Tensor | None = None,
) -> Tensor:
    """Calls `step` for every position, one after the other.

    Args:
        step: Takes the inputs of a position, of shape `(batch, features)`, the states, and the noises, each
            of shape `(batch, width)`; returns the outputs, of shape `(batch, width)`, and the new states.
            What it needs of a source, such as keys and memory, belongs in its closure.
        inputs: Tensor of shape `(batch, time, features)`.
        states: The states before the first step, tensors of shape `(batch, ...)` in any nested structure.
        noises: Tensors of shape `(batch, time, width)`, of which each step gets its part.
        output_dtype: Of the outputs. Defaults to that of the inputs.
        feedback: Makes of the outputs of a step an input of the next one, of shape `(batch, features)`;
            `None` if all inputs are given.
        forced: With `feedback`, boolean tensor of shape `(batch, time)`, `True` where the step takes the
            given input and `False` where it takes what `feedback` made. The first step takes the given one.

    Returns:
        The outputs of all steps, of shape `(batch, time, width)`.
    """
    # The loop has one sequence: whatever a step needs of its own travels beside the inputs.
    columns = [inputs, *noises]
    if feedback is not None:
        states = {"states": states, "fed": ops.zeros_like(inputs[:, 0])}
        is_first = ops.arange(ops.shape(inputs)[1]) == 0
        forced = ops.logical_or(ops.cast(forced, "bool"), is_first)
        columns.append(ops.cast(ops.expand_dims(forced, axis=-1), inputs.dtype))
    widths = [ops.shape(column)[-1] for column in columns]

    def run_step(packed: Tensor, flat_states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        parts = split(packed, widths)
        step_inputs, step_noises = ops.cast(parts[0], inputs.dtype), parts[1 : 1 + len(noises)]
        old_states = keras.tree.pack_sequence_as(states, list(flat_states))
        if feedback is None:
            outputs, new_states = step(step_inputs, old_states, step_noises)
        else:
            step_inputs = ops.where(ops.cast(parts[-1], "bool"), step_inputs, old_states["fed"])
            outputs, new_states = step(step_inputs, old_states["states"], step_noises)
            new_states = {"states": new_states, "fed": feedback(outputs)}
        new_states = keras.tree.flatten(new_states)
        # Layers may have a dtype policy of their own, but a loop's states must keep their dtype.
        return outputs, [ops.cast(new, old.dtype) for new, old in zip(new_states, flat_states, strict=True)]

    flat_states = keras.tree.flatten(states)
    loop = keras.layers.RNN(
        _Cell(run_step, [state.shape[-1] for state in flat_states]),
        return_sequences=True,
        dtype=output_dtype or keras.backend.standardize_dtype(inputs.dtype),
        name="loop",
    )
    # `call` and not `__call__`, which would let a mask that the inputs carry repeat steps of the output.
    return loop.call(concatenate(columns), initial_state=flat_states)


class _Cell:
    """A step function as `keras.layers.RNN` wants its cell.

    The step holds what the steps share, so that the loop captures instead of carrying it, and the object
    lives as long as one run, so that runs in several threads do not meet.
    """

    compute_dtype = None  # Leaves the initial states as they are.

    def __init__(
        self,
        step: Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, list[Tensor]]],
        state_size: list[int | None],
    ) -> None:
        self.step = step
        self.state_size = state_size

    def call(self, inputs: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return self.step(inputs, states)

    __call__ = call


def split(tensor: Tensor, widths: Sequence[Any]) -> list[Tensor]:
    """Cuts a tensor along its last axis.

    Args:
        tensor: Of shape `(..., sum of widths)`.
        widths: Integers, or scalar tensors where they are not known before.

    Returns:
        For each width a tensor of shape `(..., width)`.
    """
    if len(widths) == 1:
        return [tensor]
    parts, start = [], 0
    for width in widths:
        part = tensor[..., start : start + width]
        # Slices forget a width that is known.
        parts.append(ops.reshape(part, (*ops.shape(part)[:-1], width)))
        start = start + width
    return parts


def concatenate(tensors: Sequence[Tensor]) -> Tensor:
    """Joins tensors along their last axis, in the widest of their dtypes; `split` takes them apart again."""
    if len(tensors) == 1:
        return tensors[0]
    dtype = keras.backend.result_type(*(tensor.dtype for tensor in tensors))
    return ops.concatenate([ops.cast(tensor, dtype) for tensor in tensors], axis=-1)
