"""For how many epochs a model is trained where nothing is said of it."""

from __future__ import annotations

from typing import Any

from components.strict import Task
from components.train.config import MOST_EPOCHS, TrainConfig

_LEAST = 4
_TOKENS = 5_000_000  # that a classifier reads in all its epochs, about


def default_epochs(task: Task, tokens: int) -> tuple[int, str]:
    """Chooses `train.epochs`.

    A classifier learns much text by heart before a cosine over many epochs has lowered the learning rate.

    Args:
        task: classification or seq2seq.
        tokens: that an epoch reads.

    Returns:
        The number, and why, in words.
    """
    if task != "classification":
        return MOST_EPOCHS, f"at most {MOST_EPOCHS} epochs"
    epochs = min(max(round(_TOKENS / max(tokens, 1)), _LEAST), MOST_EPOCHS)
    return epochs, f"at most {epochs} epochs, as each reads {tokens:,} tokens"


def settled_epochs(config: TrainConfig, task: Task, tokens: int) -> tuple[TrainConfig, dict[str, Any]]:
    """Settles for how many epochs is trained.

    Args:
        config: as configured.
        task: classification or seq2seq.
        tokens: that an epoch reads.

    Returns:
        The configuration with a number, and what was chosen, by section; empty if nothing was.
    """
    if config.epochs is not None:
        return config, {}
    epochs, why = default_epochs(task, tokens)
    chosen = {"train": {"settings": {"epochs": epochs}, "why": why}}
    return config.model_copy(update={"epochs": epochs}), chosen
