"""The evaluated examples that a SavedModel is proved with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.export.replay import read_examples

_BATCH_SIZE = 32


def write_examples(
    path: Path, evaluated: Path, count: int, score: Callable[[tf.Tensor, tf.Tensor], Mapping[str, tf.Tensor]]
) -> list[dict[str, Any]]:
    """Writes examples with the figures that the SavedModel's signature `score` must give to their targets.

    Evaluation has measured what the model answers, not how probable it finds what was expected.

    Args:
        path: where to, as JSON lines.
        evaluated: the evaluate stage's predictions, JSON lines.
        count: how many to take, at most.
        score: the function that is frozen as `score`.

    Returns:
        What was written: `input`, `target`, `prediction`, `score`, and in `scored` the outputs that are one
        number for each target, null if it is not finite.
    """
    examples = read_examples(str(evaluated), count)
    for start in range(0, len(examples), _BATCH_SIZE):
        batch = examples[start : start + _BATCH_SIZE]
        texts, targets = (tf.constant([row[name] for row in batch]) for name in ("input", "target"))
        outputs = {name: values.numpy() for name, values in score(texts, targets).items()}
        figures = {name: values for name, values in outputs.items() if values.ndim == 1}
        for index, row in enumerate(batch):
            row["scored"] = {name: _plain(values[index]) for name, values in figures.items()}
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in examples)
    return examples


def _plain(value: Any) -> float | None:
    return value.item() if np.isfinite(value) else None
