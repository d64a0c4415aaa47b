"""Checks of arguments, all with one message."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any


def invalid(name: str, expected: str, received: Any) -> ValueError:
    """Returns the error for an argument that is not what is expected.

    Args:
        name: Of the argument.
        expected: What it should be, such as "a positive integer".
        received: Its value, or words about it.
    """
    return ValueError(
        f"Received an invalid value for argument `{name}`, expected {expected}, got {received}."
    )


def positive_integer(name: str, value: Any, optional: bool = False) -> None:
    """Refuses all but an `int` above 0; a bool is none.

    Args:
        name: Of the argument.
        value: Its value.
        optional: Whether `None` will do, too.
    """
    _check(name, value, _is_integer(value) and value > 0, "a positive integer", optional)


def non_negative_integer(name: str, value: Any, optional: bool = False) -> None:
    """Refuses all but an `int` of at least 0; see `positive_integer`."""
    _check(name, value, _is_integer(value) and value >= 0, "a non-negative integer", optional)


def positive_integers(name: str, values: Any) -> None:
    """Refuses all but a list or tuple of at least one positive integer."""
    valid = isinstance(values, list | tuple) and all(_is_integer(value) and value > 0 for value in values)
    _check(name, values, valid and len(values) > 0, "a non-empty list of positive integers")


def clock_periods(name: str, values: Any) -> None:
    """Refuses all but a list or tuple of at least one period; each is longer than the one before it."""
    valid = isinstance(values, list | tuple) and all(_is_integer(value) for value in values)
    valid = valid and all(a < b for a, b in zip([0, *values], [*values, 2**31], strict=True))
    expected = "increasing positive integers below 2**31 such as (1, 2, 4)"
    _check(name, values, valid and len(values) > 0, expected)


def finite_float(name: str, value: Any) -> None:
    """Refuses all but a finite number."""
    _check(name, value, _is_number(value), "a finite float")


def positive_float(name: str, value: Any) -> None:
    """Refuses all but a finite number above 0."""
    _check(name, value, _is_number(value) and value > 0, "a positive float")


def non_negative_float(name: str, value: Any) -> None:
    """Refuses all but a finite number of at least 0."""
    _check(name, value, _is_number(value) and value >= 0, "a non-negative float")


def fraction(name: str, value: Any, zero: bool = True, one: bool = True, optional: bool = False) -> None:
    """Refuses all but a number between 0 and 1.

    Args:
        name: Of the argument.
        value: Its value.
        zero: Whether 0 will do.
        one: Whether 1 will do.
        optional: Whether `None` will do, too.
    """
    valid = _is_number(value) and 0 <= value <= 1 and (zero or value != 0) and (one or value != 1)
    _check(name, value, valid, f"a float in {'[' if zero else '('}0, 1{']' if one else ')'}", optional)


def one_of(name: str, value: Any, choices: Iterable[str]) -> None:
    """Refuses all but one of several strings."""
    choices = tuple(choices)
    valid = isinstance(value, str) and value in choices
    _check(name, repr(value), valid, f"one of {', '.join(map(repr, choices))}")


def boolean(name: str, value: Any) -> None:
    """Refuses all but `True` and `False`."""
    _check(name, value, isinstance(value, bool), "`True` or `False`")


def _check(name: str, value: Any, valid: bool, expected: str, optional: bool = False) -> None:
    if not valid and not (optional and value is None):
        raise invalid(name, f"{expected} or `None`" if optional else expected, value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
