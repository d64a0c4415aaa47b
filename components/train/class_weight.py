"""How much the examples of every label count in the training loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.train.loss_config import ClassWeight

_SHOWN = 20  # labels in a message


def check_labels(weights: ClassWeight | None, labels: Sequence[str]) -> None:
    """Checks that weights are given for known labels only.

    Args:
        weights: as configured.
        labels: of the train split.

    Raises:
        UserError: one is unknown; the message names the known ones.
    """
    if not isinstance(weights, dict):
        return
    unknown = [label for label in weights if label not in set(labels)]
    if unknown:
        known = ", ".join(repr(label) for label in labels[:_SHOWN])
        more = f" and {len(labels) - _SHOWN:,} more" if len(labels) > _SHOWN else ""
        raise UserError(
            f"train.class_weight: received a weight for {', '.join(map(repr, unknown[:_SHOWN]))}, expected "
            f"labels of the train split: {known}{more}. Correct or remove it."
        )


def label_weights(weights: ClassWeight | None, tokens: Tokens) -> np.ndarray | None:
    """Returns the weight of every label, float32 [classes], by number; None where all count the same.

    Args:
        weights: as configured. `balanced` gives n / (labels * count) of the labels that the train split has,
            as scikit-learn does; a label of an earlier model without examples has the weight 1.
        tokens: whose train split is counted.

    Raises:
        UserError: as of `check_labels`.
    """
    if weights is None:
        return None
    labels = tokens.labels()
    check_labels(weights, labels)
    if isinstance(weights, dict):
        return np.array([weights.get(label, 1.0) for label in labels], np.float32)
    counts = np.zeros(len(labels), np.int64)
    for name in tokens.parts_of("train"):
        for columns in tokens.batches(name, ("label",)):
            numbers = columns["label"].to_numpy()
            counts += np.bincount(numbers[numbers >= 0], minlength=len(labels))
    present = counts > 0
    balanced = counts.sum() / (present.sum() * np.maximum(counts, 1))
    return np.where(present, balanced, 1.0).astype(np.float32)
