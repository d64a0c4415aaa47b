"""Holds what was measured of a model against the rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluate.bootstrap import interval
from components.evaluate.config import EvaluateConfig, Metric, SliceThreshold
from components.evaluate.measured import Measured
from components.evaluate.verdict import Difference, Rule, Verdict

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Retained:
    """What was measured on the test set of the model that training was started from.

    Args:
        model: of the trained model.
        initial: of the initial model, on the same examples.
        name: what people call the initial model.
    """

    model: Measured
    initial: Measured
    name: str


def apply_rules(
    config: EvaluateConfig,
    model: Measured,
    champion: Measured | None = None,
    name: str = "no champion yet",
    retained: Retained | None = None,
) -> Verdict:
    """Holds what was measured against the thresholds.

    Args:
        config: with the thresholds; `always` blesses whatever was measured, none at all blesses nothing.
        model: what was measured, every metric with a threshold.
        champion: the same of the champion on the same examples; None where there is none.
        name: what people call the champion, or why there is none.
        retained: what was measured on the initial model's test set; None without a warm start.

    Returns:
        The verdict: blessed if all rules are met. Those that are not come first.
    """
    if config.bless == "always":
        return Verdict(True, ["bless: always"])
    refusal = config.refusal(model.report.get("split", "test") == "test")
    if not config.thresholds:
        return Verdict(False, [refusal])
    regression = _Comparison("max_regression", model, champion, name)
    forgetting = _Comparison("max_forgetting", model, None, "no initial model")
    if retained is not None:
        forgetting = _Comparison("max_forgetting", retained.model, retained.initial, retained.name)
    rules = sorted(_rules(config, model, regression, forgetting), key=lambda rule: rule.met)
    if refusal:
        rules.insert(0, Rule("", "", "split", 0.0, None, False, None, refusal))
    compared = name if champion else ""
    return Verdict(all(rule.met for rule in rules), [rule.reason for rule in rules], rules, compared)


@dataclass(frozen=True)
class _Comparison:
    """A model beside one that it must not fall behind.

    Args:
        kind: of the rule.
        model: what was measured of the model.
        other: the same of the other one on the same examples; None where there is none.
        name: what people call the other one, or why there is none.
    """

    kind: str
    model: Measured
    other: Measured | None
    name: str


def _rules(
    config: EvaluateConfig, model: Measured, regression: _Comparison, forgetting: _Comparison
) -> Iterator[Rule]:
    for metric, threshold in config.thresholds.items():
        bounds: list[tuple[str | None, SliceThreshold]] = [(None, threshold), *threshold.slices.items()]
        for key, bound in bounds:
            if bound.min is not None:
                yield from (_bound(metric, place, "min", bound.min, model) for place in model.places(key))
            if bound.max is not None:
                yield from (_bound(metric, place, "max", bound.max, model) for place in model.places(key))
            for comparison, allowed in (
                (regression, bound.max_regression),
                (forgetting, bound.max_forgetting),
            ):
                if allowed is not None:
                    places = comparison.model.places(key)
                    yield from (_drop(metric, place, allowed, comparison) for place in places)
            if not model.places(key):
                known = ", ".join(model.report["slices"].get(str(key).partition("=")[0], {}))
                reason = f"{metric} in {key}: there is no such slice; the data has {known or 'none'}"
                yield Rule(metric, str(key), "slice", 0.0, None, False, None, reason)


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
    confidence, share = _confidence(keeps(_defined(model.resamples(metric, place))) == met)
    reason = f"{where} {value:.6g} {sign} {bound:.6g} ({kind}){failure}{share}"
    return Rule(metric, "=".join(place), kind, bound, value, met, confidence, reason)


def _drop(metric: Metric, place: tuple[str, ...], bound: float, comparison: _Comparison) -> Rule:
    """Holds the difference from another model against a bound; one that may be chance does not count."""
    kind, model, other, name = comparison.kind, comparison.model, comparison.other, comparison.name
    where, slice_name = f"{metric}{_in(place)}", "=".join(place)
    if other is None:
        return Rule(metric, slice_name, kind, bound, None, True, None, f"{where}: {name} ({kind})")
    ours, theirs = (measured.value(metric, place) for measured in (model, other))
    if ours is None or theirs is None:
        whose = "this model" if ours is None else name
        reason = f"{where} of {whose} is not defined on these examples ({kind} {bound:.6g})"
        return Rule(metric, slice_name, kind, bound, None, theirs is None, None, reason)
    sign = 1 if model.smaller_is_better(metric) else -1
    drop = sign * (ours - theirs)
    differences = model.resamples(metric, place) - other.resamples(metric, place)
    resampled = sign * differences
    within = interval(resampled)
    difference = Difference(ours - theirs, interval(differences))
    compared = f"{where} {ours:.6g} beside {theirs:.6g} of {name}: "
    if drop <= bound:
        confidence, share = _confidence(_defined(resampled) <= bound)
        change = f"a drop of {drop:.3g} <= {bound:.6g}" if drop > 0 else "no drop"
        reason = f"{compared}{change} ({kind}){share}"
        return Rule(metric, slice_name, kind, bound, drop, True, confidence, reason, difference)
    confidence, share = _confidence(_defined(resampled) > bound)
    by_chance = within is not None and within[0] <= 0
    if within is not None and by_chance:
        end = (
            f"but within the noise: 95 % of the paired resamples are from {within[0]:.3g} to {within[1]:.3g}"
        )
        reason = f"{compared}a drop of {drop:.3g} > {bound:.6g} ({kind}), {end}"
    else:
        reason = f"{compared}a drop of {drop:.3g} > {bound:.6g} ({kind}): fails by {drop - bound:.3g}{share}"
    return Rule(metric, slice_name, kind, bound, drop, by_chance, confidence, reason, difference)


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
