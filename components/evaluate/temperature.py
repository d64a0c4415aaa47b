"""Temperature scaling (Guo et al., 2017, "On calibration of modern neural networks", section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

Array = np.ndarray[Any, Any]

_RANGE = (1e-3, 1e3)  # of 1 / T; beyond it nothing of the logits is left
_DIGITS = 6


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Args:
        value: T, what logits are divided by.
        examples: it was fitted to.
        nll_before: mean negative log likelihood of their labels at temperature 1, in nats.
        nll_after: the same at T.
        problem: why T stays 1, in words; empty where a best one exists.
    """

    value: float
    examples: int
    nll_before: float
    nll_after: float
    problem: str = ""

    def as_json(self) -> dict[str, float]:
        """As the evaluation keeps it, with 6 significant digits."""
        return {
            "temperature": self.value,
            "examples": self.examples,
            "nll_before": _rounded(self.nll_before),
            "nll_after": _rounded(self.nll_after),
        }


def fit_temperature(logits: Array, labels: Array) -> Temperature:
    """Finds the temperature that makes the labels most probable.

    The negative log likelihood is convex in 1 / T, so its derivative has one root, or none: where every
    answer is right any lower T is better, and where the logits say less than equal probabilities would, any
    higher one. There T stays 1.

    Args:
        logits: float [n, C], up to a constant in each row: logarithms of probabilities will do.
        labels: the place of the expected label in each row, integers [n]; n > 0.

    Returns:
        T with 6 significant digits, so that it is the same on every machine.
    """
    centred = logits.astype(np.float64)
    centred -= centred.max(axis=1, keepdims=True)
    expected = np.take_along_axis(centred, labels[:, None], axis=1)[:, 0]

    def slope(inverse: float) -> float:
        mean = (softmax(inverse * centred, axis=1) * centred).sum(axis=1)
        return float((mean - expected).mean())

    def nll(temperature: float) -> float:
        return float(-(log_softmax(centred / temperature, axis=1)[np.arange(len(labels)), labels]).mean())

    value, problem = 1.0, ""
    if np.all(expected == 0):
        problem = "every answer is right, so the lower the temperature the better"
    elif slope(_RANGE[0]) >= 0:
        problem = "the scores fit the labels no better than equal ones would"
    elif slope(_RANGE[1]) <= 0:
        problem = "the few wrong answers are nearly ties, so the lower the temperature the better"
    else:
        # The root in log(1 / T), where a step means the same everywhere.
        root = brentq(lambda log: slope(np.exp(log)), *np.log(_RANGE), xtol=1e-10)
        value = _rounded(np.exp(-root))
    return Temperature(value, len(labels), nll(1.0), nll(value), problem)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def uncalibrated_scores(probabilities: Array, temperature: float) -> Array:
    """Returns the scores that answers would have without temperature scaling.

    Args:
        probabilities: of the labels, at this temperature, float32 [n, C].
        temperature: that the logits were divided by.

    Returns:
        The greatest probability in each row at temperature 1, float32 [n].
    """
    ratios = probabilities.astype(np.float64) / probabilities.max(axis=1, keepdims=True)
    return np.asarray(1 / (ratios**temperature).sum(axis=1), np.float32)
