"""Why a model was pushed, in a line."""

from __future__ import annotations

from components.evaluate.metrics import shown
from components.evaluate.verdict import Rule, Verdict

_SIGNS = {"min": ">=", "max": "<="}
_OTHERS = {"max_regression": "champion", "max_forgetting": "initial model"}


def pushed_words(verdict: Verdict, version: str, examples: int, split: str) -> str:
    """Returns the rules that a model has met, in short, and how far it is from the champion.

    Args:
        verdict: of a model that was pushed.
        version: that it is served as.
        examples: that it was measured on.
        split: of these.
    """
    bounds = [_bound(rule) for rule in verdict.rules if rule.kind in _SIGNS and not rule.slice]
    sliced = sum(bool(rule.slice) for rule in verdict.rules)
    if sliced:
        bounds.append(f"{sliced} {'bounds' if sliced > 1 else 'bound'} in slices")
    met = ", ".join(bounds) or ("" if verdict.rules else "; ".join(verdict.reasons))
    where = "" if split == "test" else f" of {split}"
    parts = [f"{met or 'measured'} on {examples:,} examples{where}"]
    for kind, other in _OTHERS.items():
        rules = [rule for rule in verdict.rules if rule.kind == kind and not rule.slice]
        if rules:
            parts.append(
                _compared(rules, f"{other} {verdict.champion}" if kind == "max_regression" else other)
            )
    return f"version {version}: {'; '.join(parts)}"


def _bound(rule: Rule) -> str:
    assert rule.value is not None
    return f"{rule.metric} {shown(rule.metric, rule.value)} {_SIGNS[rule.kind]} {rule.bound:g}"


def _compared(rules: list[Rule], other: str) -> str:
    """The differences from another model; what was not compared says why."""
    differences = [f"{rule.metric} {_difference(rule)}" for rule in rules if rule.difference]
    if not differences:
        return rules[0].reason.partition(": ")[2].rpartition(" (")[0]
    return f"{other.replace('champion version', 'champion')}: {', '.join(differences)}"


def _difference(rule: Rule) -> str:
    assert rule.difference is not None
    value = shown(rule.metric, rule.difference.value, sign=True)
    if rule.difference.interval is None:
        return value
    low, high = (shown(rule.metric, end, sign=True) for end in rule.difference.interval)
    return f"{value} (95 %: {low} to {high})"
