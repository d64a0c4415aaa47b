"""What a classifier's scores are worth, in sentences for the terminal and the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def told(confidence: Mapping[str, Any], split: str) -> list[str]:
    """Says in sentences what a report found.

    Args:
        confidence: the report; see components.evaluate.confidence.
        split: that was evaluated.
    """
    lines = []
    if fitted := confidence.get("temperature"):
        line = f"temperature {fitted['temperature']:g}, fitted to {fitted['examples']:,} validation examples"
        line += ", the same that are measured here" if split == "validation" else ""
        lines.append(
            f"{line}: their negative log likelihood {fitted['nll_before']:.4f} -> {fitted['nll_after']:.4f}"
        )
    if threshold := confidence.get("threshold"):
        lines.append(_threshold_told(threshold, split))
    return lines


def _threshold_told(threshold: Mapping[str, Any], split: str) -> str:
    target, chosen, here = (threshold[name] for name in ("target_accuracy", "chosen", "evaluated"))
    on = "validation" if threshold["on_validation"] else split
    if chosen is None:
        count = threshold["chosen_examples"]
        return f"accuracy {target:g}: no threshold on the score reaches it on {count:,} {on} examples"
    known = f"score >= {chosen['threshold']!r}: chosen on {on} for accuracy {target:g}"
    if on == split:
        part = _selection_told(chosen)
        return f"{known}, the same examples that it is measured on: {part}; expect less on others"
    return f"{known} ({_selection_told(chosen)}); on {split} {_selection_told(here)}"


def _selection_told(selection: Mapping[str, Any]) -> str:
    covered = f"{selection['coverage']:.0%} of the examples ({selection['answered']:,})"
    if selection["accuracy"] is None:
        return f"no accuracy, as it covers {covered}"
    low, high = selection["interval"]
    return f"accuracy {selection['accuracy']:.4f} ({low:.4f} to {high:.4f}) on {covered}"
