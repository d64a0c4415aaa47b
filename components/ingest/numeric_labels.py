"""Notices labels that are measurements and not classes."""

from __future__ import annotations

import re
from collections.abc import Collection

_NUMBER = re.compile(r"[-+]?(\d+([.,]\d+)?|[.,]\d+)([eE][-+]?\d+)?")
_RATINGS = 11  # 0 to 10, and half stars from 0.5 to 5
_CLASSES = 20  # above which numbers without a gap may as well be amounts


def look_like_numbers(labels: Collection[str]) -> bool:
    """Says whether labels look like values of a quantity.

    All must be numbers, and more than a scale of ratings has. Up to 20 whole numbers without a gap from 0 or
    1 are the numbers of classes; of more, such as 0 to 100, nobody can tell.

    Args:
        labels: all that occur.
    """
    if len(labels) <= _RATINGS or not all(map(_NUMBER.fullmatch, labels)):
        return False
    if len(labels) > _CLASSES:
        return True
    numbers = sorted(float(label.replace(",", ".")) for label in labels)
    return numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))
