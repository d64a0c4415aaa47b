"""What a sweep tries: many trials of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from components.evaluate.config import Metric
from components.strict import Strict

Bounds = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
WholeBounds = Annotated[list[int], Field(min_length=2, max_length=2)]

MOST_TRIALS = 10_000


class Range(Strict):
    """Numbers between two bounds, both of which may be drawn: one of the keys.

    Where the swept key takes whole numbers only, whole numbers are drawn; others are rounded to four digits.
    """

    uniform: Bounds | None = None
    """All numbers between them alike."""
    log_uniform: Bounds | None = None
    """All orders of magnitude alike; both bounds above 0."""
    integers: WholeBounds | None = None
    """All whole numbers alike."""

    @model_validator(mode="after")
    def _is_one_range(self) -> Range:
        given = {name: bounds for name, bounds in self if bounds is not None}
        if not given:
            raise ValueError("received no bounds, expected one of uniform, log_uniform and integers")
        (kind, (low, high)), *others = given.items()
        if others:
            raise ValueError(f"{others[0][0]} is there beside {kind}; expected one of them")
        if low >= high:
            raise ValueError(f"{kind} received {[low, high]}, expected the smaller bound first")
        if kind == "log_uniform" and low <= 0:
            raise ValueError(f"{kind} received {[low, high]}, expected bounds above 0")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        low, high = self.uniform or self.log_uniform or self.integers or (0, 0)
        return low, high


Values = Annotated[list[Any], Field(min_length=1)] | Range


class Halving(Strict):
    """Successive halving (Jamieson and Talwalkar, 2016): many trials begin, and the best ones train on.

    All train until the first stop, the best of them until the second one, and so on. The schedules of
    `train` span `train.epochs` all the same, so that a trial which trains to its end is like one of its own.
    """

    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One in so many trials goes on after every stop; the stops are that factor apart."""
    min_epochs: Annotated[int, Field(ge=1)] = 1
    """Epochs to the first stop."""


def reduction_factor(halving: Mapping[str, Any] | None) -> int:
    """Returns one in how many trials goes on after a stop, by what a record keeps of `halving`; 1 without."""
    return Halving.model_validate(halving).reduction_factor if halving else 1


class SweepConfig(Strict):
    """Trials of one run, which differ in some settings; the best one on the validation split is served."""

    over: Mapping[str, Values]
    """The settings that differ, by the path that --set takes, below `model`, `train` or `tokenize`: a list of
    values, which may be whole sections, or a range. A key that is not written elsewhere in the file stands at
    its first value."""
    search: Literal["grid", "random", "sobol"] | None = None
    """How trials are chosen: `grid`, all combinations, the last key changing fastest; `random`, independent
    draws; `sobol`, draws that cover the space more evenly (scrambled Sobol points). Default: `grid` without
    `trials`, otherwise `sobol`. A draw depends on `seed` and its number alone: with more trials the
    first ones stay."""
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = None
    """How many are drawn; of a `grid` all are tried. Draws that are equal are trained once."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    """Seed of the draws."""
    repeat: Annotated[int, Field(ge=1)] = 1
    """How often every setting is trained: with the run's seed, the seed after it, and so on. Settings are
    ranked by the mean."""
    halving: Halving | None = None
    """Ends bad trials early; without it all train to their end."""
    monitor: Literal["loss"] | Metric | None = None
    """What trials are ranked by, on the validation split: `loss`, or a metric of evaluate, which is then also
    `train.monitor` of every trial. Default: `train.monitor`, or `loss`."""
    parallel: Annotated[int, Field(ge=1)] = 1
    """Trials that a worker trains at the same time, as long as its memory suffices; they share its cores."""

    @field_validator("over")
    @classmethod
    def _are_paths(cls, over: Mapping[str, Values]) -> Mapping[str, Values]:
        if not over:
            raise ValueError(
                "received an empty mapping, expected at least one key, such as model.encoder.units"
            )
        for key in over:
            if not all(key.split(".")):
                raise ValueError(f"received {key!r}, expected a path such as model.encoder.units")
        return over
