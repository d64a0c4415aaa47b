"""Batches without rows, for layers of Keras that cannot run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def through_a_row(function: Callable[..., Any], *batches: Any) -> Any:
    """Calls a function with a row of zeros in place of none, and cuts it off the results.

    On TensorFlow, Keras' recurrent cells fail on batches that are known to have no rows: `ops.add` takes
    what they add for a bias.

    Args:
        function: Takes tensors in any nested structures, and returns such, all with the rows first.
        *batches: What it takes, without rows; may hold `None`.

    Returns:
        What it returns, without rows.
    """

    def one_row(tensor: keras.KerasTensor | None) -> keras.KerasTensor | None:
        return None if tensor is None else ops.zeros((1, *ops.shape(tensor)[1:]), dtype=tensor.dtype)

    rows = keras.tree.map_structure(one_row, batches)
    return keras.tree.map_structure(lambda tensor: tensor[:0], function(*rows))
