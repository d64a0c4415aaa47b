"""Whether a model is good enough to be served, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from components.evaluate.config import Metric, Threshold

Bless = Mapping[Metric, Threshold] | Literal["always"] | None


def judge(bless: Bless, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Holds metrics against thresholds.

    Args:
        bless: bounds by metric; "always" blesses whatever was measured, none at all blesses nothing.
        metrics: what was measured; every metric with a threshold is in it.

    Returns:
        {"blessed": bool, "reasons": [one sentence a bound]}.
    """
    if bless == "always":
        return {"blessed": True, "reasons": ["bless: always"]}
    if not bless:
        reason = "no thresholds in evaluate.bless: not blessed; set `evaluate.bless`, or `bless: always`"
        return {"blessed": False, "reasons": [reason]}
    verdicts = [
        _verdict(name, metrics[name], bound, kind)
        for name, threshold in bless.items()
        for bound, kind in ((threshold.min, "min"), (threshold.max, "max"))
        if bound is not None
    ]
    return {"blessed": all(met for met, _ in verdicts), "reasons": [reason for _, reason in verdicts]}


def _verdict(name: str, value: float, bound: float, kind: str) -> tuple[bool, str]:
    met = value >= bound if kind == "min" else value <= bound
    sign = {("min", True): ">=", ("min", False): "<", ("max", True): "<=", ("max", False): ">"}[kind, met]
    failure = "" if met else f": fails by {abs(value - bound):.3g}"
    return met, f"{name} {value:.6g} {sign} {bound:.6g} ({kind}){failure}"
