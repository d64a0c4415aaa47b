"""Tests of the checks that all layers share."""

import re

import numpy as np
import pytest

from layers import _validation as validation

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("check", "options", "valid", "refused", "expected"),
    [
        (
            "positive_integer",
            {},
            [1, 2**40],
            [0, -1, 1.0, True, "1", None, np.int64(1)],
            "a positive integer",
        ),
        ("positive_integer", {"optional": True}, [1, None], [0, False, ""], "a positive integer or `None`"),
        ("non_negative_integer", {}, [0, 7], [-1, 0.0, False, None], "a non-negative integer"),
        (
            "non_negative_integer",
            {"optional": True},
            [0, None],
            [-1, False],
            "a non-negative integer or `None`",
        ),
        (
            "positive_integers",
            {},
            [[1], (3, 3, 2)],
            [[], (), [0], [1, 2.0], [True], 3, "12", None, {1}],
            "a non-empty list of positive integers",
        ),
        (
            "clock_periods",
            {},
            [[1], (1, 2, 4), [7, 2**31 - 1]],
            [(), (0, 1), (1, 1), (4, 2), (1, 2.0), (True, 2), (1, 2**31), (2**31,), 3, "12", None],
            "increasing positive integers below 2**31 such as (1, 2, 4)",
        ),
        (
            "positive_float",
            {},
            [1e-9, 3, np.float32(2)],
            [0.0, -1, NAN, INFINITY, True, "1", None, [1.0]],
            "a positive float",
        ),
        ("non_negative_float", {}, [0, 0.0, 1e9], [-1e-9, NAN, INFINITY, False, "0"], "a non-negative float"),
        (
            "fraction",
            {},
            [0, 0.5, 1, np.float64(1)],
            [-0.1, 1.1, NAN, True, "0.5", None],
            "a float in [0, 1]",
        ),
        ("fraction", {"one": False}, [0, 0.999], [1, 1.0, -1], "a float in [0, 1)"),
        ("fraction", {"zero": False}, [1e-9, 1], [0, 0.0, 2], "a float in (0, 1]"),
        (
            "fraction",
            {"zero": False, "one": False, "optional": True},
            [0.5, None],
            [0, 1, False],
            "a float in (0, 1) or `None`",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_accepts_and_refuses(check, options, valid, refused, expected):
    for value in valid:
        getattr(validation, check)("size", value, **options)
    for value in refused:
        message = f"Received an invalid value for argument `size`, expected {expected}, got {value}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            getattr(validation, check)("size", value, **options)


def test_one_of_several_strings():
    validation.one_of("score", "dot", ["dot", "general"])
    for value in ("Dot", "", None, 3, ["dot"]):
        message = f"argument `score`, expected one of 'dot', 'general', got {value!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            validation.one_of("score", value, ["dot", "general"])
