"""Which axes of a model's variables belong to its vocabularies."""

from __future__ import annotations

from typing import NamedTuple

import keras


class VocabularyAxis(NamedTuple):
    """An axis with an entry a token, or a label.

    Args:
        variable: of the model.
        axis: which one of it, from 0.
        field: whose tokens or labels they are. Their entries come first, in the order of their numbers; what
            comes behind them, such as hash bins, depends on no number.
    """

    variable: keras.Variable
    axis: int
    field: str
