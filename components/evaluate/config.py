"""Configuration of decoding and of the evaluate stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.strict import Strict, Task

Metric = Literal["accuracy", "macro_f1", "exact_match", "character_error_rate", "bleu"]

METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "seq2seq": ("exact_match", "character_error_rate", "bleu"),
}


class DecodeConfig(Strict):
    """How a seq2seq model's answer is searched for."""

    beam_width: Annotated[int, Field(ge=1)] = 4
    """Hypotheses kept at each step; 1 is greedy."""
    length_penalty: float = 0.6
    """Scores are divided by ((5 + length) / 6) ** length_penalty (Wu et al., 2016)."""
    max_length: Annotated[int, Field(ge=1)] = 64
    """Longest answer, in target tokens."""


class Threshold(Strict):
    """Bounds that a metric must keep."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        return self


class EvaluateConfig(Strict):
    """What is measured on the test split, and what is good enough to be served."""

    metrics: list[Metric] = Field(default_factory=list)
    """Default: all that fit the task."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    bless: dict[Metric, Threshold] | Literal["always"] | None = None
    """Bounds by metric. Without any, no model is pushed; `always` pushes every model."""
