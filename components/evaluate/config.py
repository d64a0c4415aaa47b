"""Configuration of the evaluate stage: what is measured, and what is good enough to be served."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, FiniteFloat, model_validator

from components.strict import Strict, Task

Metric = Literal[
    "accuracy",
    "macro_f1",
    "micro_f1",
    "calibration_error",
    "roc_auc",
    "exact_match",
    "character_error_rate",
    "word_error_rate",
    "bleu",
    "chrf",
]

METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": ("accuracy", "macro_f1", "micro_f1", "calibration_error", "roc_auc"),
    "seq2seq": ("exact_match", "character_error_rate", "word_error_rate", "bleu", "chrf"),
}
ERRORS: frozenset[Metric] = frozenset({"calibration_error", "character_error_rate", "word_error_rate"})
"""The metrics that are better when they are smaller."""


class SliceThreshold(Strict):
    """Bounds that a metric must keep in a slice."""

    renamed: ClassVar = {"max_drop": "max_regression"}

    min: FiniteFloat | None = None
    """The least that is good enough."""
    max: FiniteFloat | None = None
    """The most that is good enough, of an error."""
    max_regression: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """How much worse than the champion's the metric may be, in its own unit. A drop that could be chance (the
    middle 95 % of a paired bootstrap hold no drop at all) does not count."""
    max_forgetting: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """The same with `train.init_from`, beside the initial model on its own test set."""

    @model_validator(mode="after")
    def _bounds(self) -> SliceThreshold:
        bounds = (self.min, self.max, self.max_regression, self.max_forgetting)
        if all(bound is None for bound in bounds) and not self._others():
            raise ValueError("expected min, max, max_regression, max_forgetting or several of them")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: no model could meet both")
        return self

    def _others(self) -> bool:
        return False


class Threshold(SliceThreshold):
    """Bounds that a metric must keep."""

    slices: dict[str, SliceThreshold] = Field(default_factory=dict)
    """Bounds in slices, by `column` (for each of its slices) or `column=value` (for that one)."""

    def _others(self) -> bool:
        return bool(self.slices)


class EvaluateConfig(Strict):
    """What is measured on the test split, and what is good enough to be served."""

    metrics: list[Metric] = Field(default_factory=list)
    """Default: all that fit the task. Those with a threshold in `bless` are measured as well; roc_auc is left
    out unless there are two labels."""
    slices: list[str] = Field(default=["length"])
    """What the metrics are also measured by: `length` (characters of the input, in up to 8 ranges), `label`
    (classification) and columns of `ingest.keep` (their 50 most frequent values)."""
    resamples: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Bootstrap resamples for the 95 % intervals and the comparison with the champion; 0 for none."""
    worst_examples: Annotated[int, Field(ge=0, le=10_000)] = 50
    """How many of the worst answers are listed."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Texts answered at once."""
    attention_maps: Annotated[int, Field(ge=0)] = 4
    """seq2seq with attention: of so many examples, the first ones, it is drawn what the decoder looked at."""
    bless: dict[Metric, Threshold] | Literal["always"] | None = None
    """Bounds by metric. Without any, no model is pushed; `always` pushes every model."""

    @model_validator(mode="after")
    def _sound(self) -> EvaluateConfig:
        for metric, threshold in self.thresholds.items():
            for name in threshold.slices:
                column = name.partition("=")[0]
                if column not in self.slices:
                    raise ValueError(
                        f"bless has bounds on {metric} by {name}, but the slices are by "
                        f"{', '.join(self.slices) or 'nothing'}; expected `column` or `column=value`: add "
                        f"{column} to evaluate.slices"
                    )
        if (self.compares or self.remembers) and not self.resamples:
            raise ValueError(
                "resamples is 0, but bless has a max_regression or max_forgetting, which needs them to tell "
                "a drop from chance; expected some hundred"
            )
        return self

    @property
    def thresholds(self) -> dict[Metric, Threshold]:
        """The bounds by metric; none where `bless` is no mapping."""
        return self.bless if isinstance(self.bless, dict) else {}

    @property
    def compares(self) -> bool:
        """Whether any bound is on the difference from the champion."""
        return any(bound.max_regression is not None for bound in self._bounds_everywhere())

    @property
    def remembers(self) -> bool:
        """Whether any bound is on what a warm-started model has forgotten."""
        return any(bound.max_forgetting is not None for bound in self._bounds_everywhere())

    def _bounds_everywhere(self) -> list[SliceThreshold]:
        return [each for one in self.thresholds.values() for each in (one, *one.slices.values())]

    def measured(self, task: Task) -> list[Metric]:
        """Returns the metrics to report, in the order of METRICS.

        Args:
            task: which of the two kinds of model is evaluated.

        Returns:
            Those named in `metrics` (all that fit the task, if none are) and those with a threshold.

        Raises:
            ValueError: if one of them does not fit the task.
        """
        wanted = {*(self.metrics or METRICS[task]), *self.thresholds}
        for section, names in (("metrics", self.metrics), ("bless", self.thresholds)):
            for name in names:
                if name not in METRICS[task]:
                    raise ValueError(
                        f"evaluate.{section}: {name} is no metric of the task {task}; "
                        f"expected some of {', '.join(METRICS[task])}"
                    )
        return [name for name in METRICS[task] if name in wanted]
