"""Which checkpoint is the best one, by what is monitored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluate.metrics import metric_info, metric_names
from components.models.decode import DecodeConfig
from components.strict import Task
from components.train.config import TrainConfig

GREEDY = {"min_length", "max_decoding_length", "no_repeat_ngram_size", "prefix"}
"""The settings of `decode` that shape a greedy answer."""


def monitors(task: Task) -> tuple[str, ...]:
    """Returns what can be monitored: the loss, and the metrics of evaluate for a task."""
    return ("loss", *metric_names(task))


def is_measured(config: TrainConfig) -> bool:
    """Whether a metric of evaluate is monitored, which the train stage measures on raw texts."""
    return config.monitored != "loss"


def smaller_is_better(monitor: str) -> bool:
    """Whether a checkpoint is better if its monitored value is smaller."""
    return monitor == "loss" or metric_info(monitor).smaller_is_better


def improved(monitor: str, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """Whether a value is better than the best so far, which is None at first, by more than `min_delta`."""
    if best is None or (math.isnan(best) and not math.isnan(value)):
        return True
    gain = best - value if smaller_is_better(monitor) else value - best
    return gain > min_delta


def greedy(decode: DecodeConfig | None) -> DecodeConfig:
    """Returns greedy decoding, which is affordable after every epoch, with what else of `decode` applies."""
    kept = (decode or DecodeConfig()).model_dump(include=GREEDY)
    return DecodeConfig(beam_size=1, **kept)


def monitored_value(monitor: str, validation: Mapping[str, float]) -> float:
    """Returns the monitored value of a validation: without a validation split, the training loss."""
    return validation[f"val_{monitor}"] if f"val_{monitor}" in validation else validation["loss"]


def best_validation(config: TrainConfig, validations: Sequence[Mapping[str, Any]]) -> int:
    """Returns the place of the best validation, of at least one."""
    least = config.early_stopping.min_delta if config.early_stopping else 0.0
    values = [monitored_value(config.monitored, validation) for validation in validations]
    best = 0
    for place, value in enumerate(values):
        if improved(config.monitored, value, values[best], least):
            best = place
    return best


def is_stopped(config: TrainConfig, validations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether early stopping has ended the training."""
    if config.early_stopping is None or not validations:
        return False
    return len(validations) - 1 - best_validation(config, validations) >= config.early_stopping.patience
