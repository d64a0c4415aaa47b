"""Configuration of decoding and of the evaluate stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, model_validator

from components.strict import Strict, Task

Metric = Literal["accuracy", "macro_f1", "exact_match", "character_error_rate", "bleu"]

METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "seq2seq": ("exact_match", "character_error_rate", "bleu"),
}


class Threshold(Strict):
    """Bounds that a metric must keep."""

    min: FiniteFloat | None = None
    max: FiniteFloat | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: no model could meet both")
        return self


class EvaluateConfig(Strict):
    """What is measured on the test split, and what is good enough to be served."""

    metrics: list[Metric] = Field(default_factory=list)
    """Default: all that fit the task. Those with a threshold in `bless` are measured as well."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Texts answered at once."""
    attention_maps: Annotated[int, Field(ge=0)] = 4
    """seq2seq with attention: of so many examples, the first ones, it is drawn what the decoder looked at."""
    bless: dict[Metric, Threshold] | Literal["always"] | None = None
    """Bounds by metric. Without any, no model is pushed; `always` pushes every model."""

    def measured(self, task: Task) -> list[Metric]:
        """Returns the metrics to report, in the order of METRICS.

        Args:
            task: which of the two kinds of model is evaluated.

        Returns:
            Those named in `metrics` (all that fit the task, if none are) and those with a threshold.

        Raises:
            ValueError: if one of them does not fit the task.
        """
        bounded = self.bless if isinstance(self.bless, dict) else {}
        wanted = {*(self.metrics or METRICS[task]), *bounded}
        for section, names in (("metrics", self.metrics), ("bless", bounded)):
            for name in names:
                if name not in METRICS[task]:
                    raise ValueError(
                        f"evaluate.{section}: {name} is no metric of the task {task}; "
                        f"expected some of {', '.join(METRICS[task])}"
                    )
        return [name for name in METRICS[task] if name in wanted]
