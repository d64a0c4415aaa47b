"""Recurrent cells, and the beams that they know nothing of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import keras
from keras import ops

from layers._no_rows import through_a_row

Tensor: TypeAlias = keras.KerasTensor


class Beams:
    """The axis of hypotheses that a step's tensors may have after the batch.

    To cells every hypothesis is a row of the batch.

    Args:
        inputs: Those of the step, of shape `(batch, features)` or `(batch, beams, features)`.
    """

    def __init__(self, inputs: Tensor) -> None:
        self._shape = ops.shape(inputs)[:2] if len(inputs.shape) == 3 else None

    def merge(self, tensor: Tensor) -> Tensor:
        """Turns `(batch, beams, width)` to `(batch * beams, width)`."""
        return tensor if self._shape is None else ops.reshape(tensor, (-1, tensor.shape[-1]))

    def split(self, tensor: Tensor) -> Tensor:
        """Turns `(batch * beams, width)` back to `(batch, beams, width)`."""
        return tensor if self._shape is None else ops.reshape(tensor, (*self._shape, tensor.shape[-1]))

    def share(self, tensor: Tensor) -> Tensor:
        """Makes what belongs to a source, of shape `(batch, width)`, fit all its hypotheses."""
        return tensor if self._shape is None else ops.expand_dims(tensor, axis=1)


def run_cells(
    cells: Sequence[keras.layers.Layer],
    inputs: Tensor,
    states: Sequence[Sequence[Tensor]],
    beams: Beams,
    residual: bool,
    scales: Sequence[Tensor] | None,
    dtype: str,
) -> tuple[Tensor, list[list[Tensor]]]:
    """Takes one step with cells that stand on each other.

    Args:
        cells: The cells, the lowest first.
        inputs: Those of the lowest cell, of shape `(batch, [beams,] features)`.
        states: Those of each cell, of shapes `(batch, [beams,] width)`.
        beams: Whether there are beams.
        residual: Whether to add its input to a cell's output, from the second cell on.
        scales: What each cell's inputs are multiplied by; `None` without dropout.
        dtype: Of what is returned: cells may have a dtype policy of their own.

    Returns:
        The outputs of the top cell, and the new states of each cell.
    """
    outputs, new_states = beams.merge(inputs), []
    for index, (cell, cell_states) in enumerate(zip(cells, states, strict=True)):
        cell_inputs = outputs if scales is None else outputs * scales[index]
        cell_states = [beams.merge(state) for state in cell_states]
        call = partial(through_a_row, cell) if cell_inputs.shape[0] == 0 else cell
        new_outputs, cell_states = call(cell_inputs, cell_states)
        new_states.append([beams.split(ops.cast(state, dtype)) for state in cell_states])
        new_outputs = ops.cast(new_outputs, dtype)
        outputs = new_outputs + outputs if residual and index > 0 else new_outputs
    return beams.split(outputs), new_states


def check_cells(cells: Any, residual: bool) -> None:
    """Raises an error unless these are recurrent cells that can stand on each other."""
    if not isinstance(cells, list | tuple) or not cells:
        raise invalid("cells", "a non-empty list of recurrent cells", cells)
    for cell in cells:
        if not hasattr(cell, "state_size"):
            raise invalid("cells", "recurrent cells such as `keras.layers.GRUCell(64)`", cell)
        if getattr(cell, "dropout", 0) or getattr(cell, "recurrent_dropout", 0):
            raise invalid("cells", "cells without dropout of their own (pass `dropout` to the decoder)", cell)
    widths = [width_of(cell) for cell in cells]
    if residual and len(set(widths)) > 1:
        raise invalid("cells", "cells of the same width for `residual`", f"the widths {widths}")


def sizes_of(size: int | Sequence[int]) -> list[int]:
    """Returns the widths of a cell's states as a list."""
    return [size] if isinstance(size, int) else list(size)


def width_of(cell: Any) -> int:
    """Returns the width of a cell's output."""
    return getattr(cell, "output_size", None) or sizes_of(cell.state_size)[0]


def invalid(argument: str, expected: str, received: Any) -> ValueError:
    """Returns the error about an argument."""
    return ValueError(
        f"Received an invalid value for argument `{argument}`, expected {expected}, got {received}."
    )


def required(argument: str, value: Any, needed_by: str) -> Any:
    """Returns a call argument, or its shape, that the decoder's options need."""
    if value is None:
        shape = {"memory": "(batch, source, memory_width)", "summary": "(batch, summary_width)"}[argument]
        raise ValueError(
            f"Received no value for argument `{argument}`, expected a tensor of shape `{shape}` for "
            f"{needed_by}."
        )
    return value
