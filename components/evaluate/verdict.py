"""Whether a model is good enough to be served, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One bound, and how the model stands to it.

    Args:
        metric: which one.
        slice: `column=value`; empty for the whole.
        kind: min, max or max_regression.
        bound: the number that was set.
        value: the metric, or the regression; None if it is not defined.
        met: whether the bound is kept, or is only missed by chance.
        confidence: the fraction of the resamples that agree; None where there are none.
        reason: all that in a sentence.
    """

    metric: str
    slice: str
    kind: str
    bound: float
    value: float | None
    met: bool
    confidence: float | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Whether a model may be served.

    Args:
        blessed: whether it may.
        reasons: why, a sentence a rule, in their order.
        rules: how it stands to each bound.
        champion: what it was compared with; empty where it was compared with nothing.
        push: whether it has to be copied to where it is served: not where it is served already.
    """

    blessed: bool
    reasons: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    champion: str = ""
    push: bool = False

    def as_json(self) -> dict[str, Any]:
        """As data that JSON can hold."""
        return asdict(self)
