"""Judges whether a model is good enough to be served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from components.evaluate.bootstrap import interval
from components.evaluate.config import EvaluateConfig, Metric, SliceThreshold
from components.evaluate.measured import Measured
from components.evaluate.verdict import Blessing, Rule

Array = np.ndarray[Any, Any]


def judge(
    config: EvaluateConfig, model: Measured, champion: Measured | None = None, name: str = "no champion yet"
) -> Blessing:
    """Holds what was measured against the thresholds.

    Args:
        config: with the thresholds; `always` blesses whatever was measured, none at all blesses nothing.
        model: what was measured, every metric with a threshold.
        champion: the same of the champion on the same examples; None where there is none.
        name: what people call the champion, or why there is none.

    Returns:
        The verdict: blessed if all rules are met. Those that are not come first.
    """
    if config.bless == "always":
        return Blessing(True, ["bless: always"])
    if not config.thresholds:
        reason = "no thresholds in evaluate.bless: not blessed; set `evaluate.bless`, or `bless: always`"
        return Blessing(False, [reason])
    rules = sorted(_rules(config, model, champion, name), key=lambda rule: rule.met)
    compared = name if champion else ""
    return Blessing(all(rule.met for rule in rules), [rule.reason for rule in rules], rules, compared)


def _rules(config: EvaluateConfig, model: Measured, champion: Measured | None, name: str) -> Iterator[Rule]:
    for metric, threshold in config.thresholds.items():
        bounds: list[tuple[str | None, SliceThreshold]] = [(None, threshold), *threshold.slices.items()]
        for key, bound in bounds:
            places = model.places(key)
            if not places:
                known = ", ".join(model.report["slices"].get(str(key).partition("=")[0], {}))
                reason = f"{metric} in {key}: there is no such slice; the data has {known or 'none'}"
                yield Rule(metric, str(key), "slice", 0.0, None, False, None, reason)
            for place in places:
                if bound.min is not None:
                    yield _bound(metric, place, "min", bound.min, model)
                if bound.max is not None:
                    yield _bound(metric, place, "max", bound.max, model)
                if bound.max_regression is not None:
                    yield _drop(metric, place, bound.max_regression, model, champion, name)


def _bound(metric: Metric, place: tuple[str, ...], kind: str, bound: float, model: Measured) -> Rule:
    value = model.value(metric, place)
    where = f"{metric}{_in(place)}"
    if value is None:
        reason = f"{where} is not defined on these examples ({kind} {bound:.6g})"
        return Rule(metric, "=".join(place), kind, bound, None, False, None, reason)

    def keeps(numbers: Any) -> Any:
        return numbers >= bound if kind == "min" else numbers <= bound

    met = bool(keeps(value))
    sign = {("min", True): ">=", ("min", False): "<", ("max", True): "<=", ("max", False): ">"}[kind, met]
    failure = "" if met else f": fails by {abs(value - bound):.3g}"
    confidence, said = _confidence(keeps(_defined(model.resamples(metric, place))) == met)
    reason = f"{where} {value:.6g} {sign} {bound:.6g} ({kind}){failure}{said}"
    return Rule(metric, "=".join(place), kind, bound, value, met, confidence, reason)


def _drop(
    metric: Metric,
    place: tuple[str, ...],
    bound: float,
    model: Measured,
    champion: Measured | None,
    name: str,
) -> Rule:
    where = f"{metric}{_in(place)}"
    slice_name = "=".join(place)
    if champion is None:
        return Rule(
            metric, slice_name, "max_regression", bound, None, True, None, f"{where}: {name} (max_regression)"
        )
    ours, theirs = (each.value(metric, place) for each in (model, champion))
    if ours is None or theirs is None:
        whose = "this model" if ours is None else name
        reason = f"{where} of {whose} is not defined on these examples (max_regression {bound:.6g})"
        return Rule(metric, slice_name, "max_regression", bound, None, theirs is None, None, reason)
    sign = 1 if model.smaller_is_better(metric) else -1
    drop = sign * (ours - theirs)
    resampled = sign * (model.resamples(metric, place) - champion.resamples(metric, place))
    within = interval(resampled)
    said = f"{where} {ours:.6g} beside {theirs:.6g} of {name}: "
    if drop <= bound:
        confidence, share = _confidence(_defined(resampled) <= bound)
        change = f"a drop of {drop:.3g} <= {bound:.6g}" if drop > 0 else "no drop"
        reason = f"{said}{change} (max_regression){share}"
        return Rule(metric, slice_name, "max_regression", bound, drop, True, confidence, reason)
    confidence, share = _confidence(_defined(resampled) > bound)
    if within is not None and within[0] <= 0:
        reason = (
            f"{said}a drop of {drop:.3g} > {bound:.6g} (max_regression), but within the noise: 95 % of "
            "the paired "
            f"resamples are from {within[0]:.3g} to {within[1]:.3g}"
        )
        return Rule(metric, slice_name, "max_regression", bound, drop, True, confidence, reason)
    reason = f"{said}a drop of {drop:.3g} > {bound:.6g} (max_regression): fails by {drop - bound:.3g}{share}"
    return Rule(metric, slice_name, "max_regression", bound, drop, False, confidence, reason)


def _in(place: tuple[str, ...]) -> str:
    return f" in {'='.join(place)}" if place else ""


def _defined(resampled: Array) -> Array:
    return resampled[np.isfinite(resampled)]


def _confidence(agreeing: Array) -> tuple[float | None, str]:
    """The fraction of the resamples that agree, and how it is said."""
    if not agreeing.size:
        return None, ""
    share = float(np.mean(agreeing))
    return share, f", in {100 * share:.3g} % of the resamples"
