"""Metrics side by side, and whether their differences are more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.evaluate.metrics import shown

if TYPE_CHECKING:
    from components.evaluate.measured import Measured


@dataclass(frozen=True)
class Standing:
    """A metric of one model, and how far it is from a rival's.

    Args:
        value: the metric.
        interval: what holds the middle 95 % of its resamples; None without resamples.
        difference: from the rival's on the same examples; 0 for the rival itself.
        difference_interval: what holds the middle 95 % of the paired resamples of the difference.
    """

    value: float
    interval: tuple[float, float] | None = None
    difference: float = 0.0
    difference_interval: tuple[float, float] | None = None

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the difference is no chance; None where that is not known."""
        if self.difference_interval is None:
            return None
        low, high = self.difference_interval
        return low > 0 or high < 0


def standing(metric: Any, model: Measured, rival: Measured | None = None) -> Standing | None:
    """Says how a model stands beside a rival.

    Args:
        metric: which one.
        model: what was measured of the model.
        rival: the same of the rival, on the same examples; None: there is none.

    Returns:
        None where the metric is not defined.
    """
    from components.evaluate.bootstrap import interval

    value = model.value(metric, ())
    if value is None:
        return None
    resamples = model.resamples(metric, ())
    theirs = rival.value(metric, ()) if rival else None
    if rival is None or theirs is None:
        return Standing(value, interval(resamples))
    others = rival.resamples(metric, ())
    paired = rival is not model and len(resamples) == len(others)
    return Standing(
        value, interval(resamples), value - theirs, interval(resamples - others) if paired else None
    )


def best(metric: Any, models: Sequence[Measured]) -> Measured | None:
    """Returns the model with the best value of a metric, the first of equals; None if none has any."""
    sign = -1 if any(model.smaller_is_better(metric) for model in models) else 1
    valued = [(model.value(metric, ()), model) for model in models]
    known = [(sign * value, model) for value, model in valued if value is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def value_text(metric: str, standing: Standing | None) -> str:
    """Returns a metric with its interval; nothing where it is not defined."""
    if standing is None:
        return ""
    ends = [shown(metric, end) for end in standing.interval or ()]
    return shown(metric, standing.value) + (f" ({' to '.join(ends)})" if ends else "")


def difference_text(metric: str, standing: Standing | None, rival: str = "") -> str:
    """Returns the difference with its interval, marked by ~ where it may be noise.

    Args:
        metric: which one.
        standing: None gives nothing.
        rival: what to write for the rival itself.
    """
    if standing is None:
        return ""
    if standing.difference_interval is None:
        return rival if standing.difference == 0 else shown(metric, standing.difference, sign=True)
    difference, low, high = (
        shown(metric, value, sign=True) for value in (standing.difference, *standing.difference_interval)
    )
    mark = "" if standing.beyond_noise else " ~"
    return f"{difference} ({low} to {high}){mark}"
