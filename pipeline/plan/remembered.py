"""Functions that are asked the same again and again while a plan is made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

_answers: ContextVar[dict[Any, Any] | None] = ContextVar("answers", default=None)


@contextmanager
def unchanging() -> Iterator[None]:
    """Takes source code and installed libraries to stay as they are until the block ends."""
    token = _answers.set({} if _answers.get() is None else _answers.get())
    try:
        yield
    finally:
        _answers.reset(token)


def remembered(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Has a function be called once for the same arguments within `unchanging`; elsewhere every time."""

    @functools.wraps(function)
    def answer(*arguments: Given.args, **named: Given.kwargs) -> Result:
        answers = _answers.get()
        if answers is None:
            return function(*arguments, **named)
        case = (function, arguments, tuple(sorted(named.items())))
        if case not in answers:
            answers[case] = function(*arguments, **named)
        result: Result = answers[case]
        return result

    return answer
