"""How much must be right before luck does not explain it."""

from __future__ import annotations

import math
from typing import NamedTuple

_CHANCE = 0.025
"""The probability that luck is enough, of two standard errors to one side."""
_LEAST_MARGIN = 0.02


class Bar(NamedTuple):
    """What must be reached.

    Args:
        least: the fraction of the test split that must be right.
        why: what it means, in words.
    """

    least: float
    why: str


def bar_above(share: float, tested: int) -> Bar:
    """Finds what answers that need no model hardly ever reach by luck.

    How many of them are right follows the binomial distribution. It is taken as it is: the normal one, in its
    place, is wrong for few examples, and for shares near 1.

    Args:
        share: of all examples, that they are right for.
        tested: examples of the test split.
    """
    from scipy.stats import binom

    if share >= 1:
        return Bar(1.0, "No model can be better.")
    tested = max(1, tested)
    by_luck = share**tested
    if by_luck > _CHANCE:
        enough = math.ceil(math.log(_CHANCE) / math.log(share))
        return Bar(
            1.0,
            f"A test split of about {tested:,} is too small to show that a model is better: by luck, such "
            f"answers are all right there with a probability of {by_luck:.0%}. It takes at least {enough:,} "
            f"examples; with fewer, min is 1, the strictest there is.",
        )
    right = min(tested, int(binom.isf(_CHANCE, tested, share)) + 1)
    digits = 10 ** max(3, len(str(tested)))  # with which `right` examples reach it, and one less do not
    least = max(right * digits // tested / digits, above(share))
    advice = " Raise it to what you need." if least < 1 else ""
    return Bar(
        least,
        f"On a test split of about {tested:,}, answers that are not better reach {least:g} by luck with a "
        f"probability of at most {_CHANCE:.1%}.{advice}",
    )


def above(floor: float) -> float:
    """Returns a bound that is clearly above a floor, and never further than half the way to 1."""
    return math.ceil(1000 * min(floor + _LEAST_MARGIN, (1 + floor) / 2)) / 1000
