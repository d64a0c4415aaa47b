"""Whether a model is good enough to be served, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Difference:
    """How far a model's metric is from another model's on the same examples.

    Args:
        value: the model's less the other one's.
        interval: the middle 95 % of it in paired resamples; None where there are none.
    """

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Rule:
    """One bound, and how the model stands to it.

    Args:
        metric: which one; empty where the rule is of none.
        slice: `column=value`; empty for the whole.
        kind: min, max, max_regression or max_forgetting; `slice`, `split` or `champion` where one is missing.
        bound: the number that was set.
        value: the metric, or the regression; None if it is not defined.
        met: whether the bound is kept, or is only missed by chance.
        confidence: the fraction of the resamples that agree; None where there are none.
        reason: all that in a sentence.
        difference: of the two models that a max_regression or max_forgetting compares, if there are two.
    """

    metric: str
    slice: str
    kind: str
    bound: float
    value: float | None
    met: bool
    confidence: float | None
    reason: str
    difference: Difference | None = None


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
