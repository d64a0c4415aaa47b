"""The parts of what MLflow is to have of a run, under names that MLflow allows."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.distinct import distinct
from pipeline.config import flatten
from pipeline.stages.log import DatasetFacts
from pipeline.sweep.draws import in_word, short_names

RUN = ""
"""In the place of a trial's id: the run itself, the parent of its trials."""
EPOCH = "epoch_seconds"
"""The metric that all epochs have; it is the last one of an epoch that is sent."""

_PARAMETER_LENGTH, _TAG_LENGTH, _NAME_LENGTH = 6000, 8000, 250  # MLflow's limits
_LAYERS = ("encoder", "attention", "decoder", "pooling")


class Point(NamedTuple):
    """A value of a metric, at a time in milliseconds since 1970; step 0 is of no epoch."""

    name: str
    value: float
    time: int
    step: int = 0


class Begin(NamedTuple):
    """What a run of MLflow is created with: its name, and its beginning in milliseconds since 1970."""

    name: str
    time: int


@dataclass(frozen=True)
class Part:
    """A part of what MLflow is to have; parts arrive, or are refused, one by one.

    Args:
        of: the id of the trial that it belongs to, or RUN.
        label: what people call it.
        begin: of the first part of the run and of its trials.
        params: by name.
        tags: by name.
        metrics: in the order in which MLflow is to show them.
        datasets: the splits that were read.
        files: by path in MLflow, the content, or the artifact and the name that has it there.
        champion: the directory of the served version that is to be registered, and what was measured of it.
        end: status, and the time of the end in milliseconds since 1970; no time while the run goes on.
        error: why the rest of it is not known.
    """

    of: str
    label: str
    begin: Begin | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Point, ...] = ()
    datasets: tuple[DatasetFacts, ...] = ()
    files: Mapping[str, bytes | tuple[Artifact, str]] = field(default_factory=dict)
    champion: tuple[str, Evaluation | None] | None = None
    end: tuple[str, int | None] | None = None
    error: Exception | None = None


def params(config: Mapping[str, Any], settings: Mapping[str, Any] = {}) -> dict[str, str]:
    """Returns the parameters, flat: what a run does, and not what is good enough.

    The kinds of layers also have short names, and what a sweep has set short names with an underscore, which
    comes before all letters: MLflow's parallel coordinates begin with the first three parameters of the
    alphabet that differ.

    Args:
        config: as a record keeps it, without a password.
        settings: what a sweep has set in it, by path.
    """
    names = short_names(settings)
    swept = {f"_{names[path]}": in_word(value) for path, value in settings.items()}
    layers = {name: config.get("model", {}).get(name) for name in _LAYERS}
    short = {name: kind["type"] if isinstance(kind, dict) else kind for name, kind in layers.items() if kind}
    flat = {k: value for k, value in flatten(dict(config)).items() if not k.startswith("evaluate.bless")}
    return named(swept | short | flat)


def named(values: Mapping[str, Any]) -> dict[str, str]:
    """Returns parameters as MLflow takes them."""
    allowed = _allowed(values)
    return {allowed[key]: str(value)[:_PARAMETER_LENGTH] for key, value in values.items()}


def clean_name(text: str) -> str:
    """Replaces what MLflow does not allow in a name."""
    cleaned = re.sub(r"[^\w.\- :]", "_", text)
    return cleaned if cleaned.strip(".") else f"_{cleaned}"


def tags(values: Mapping[str, str]) -> dict[str, str]:
    """Returns tags as MLflow takes them; those without a value are left out."""
    names = _allowed(values)
    return {names[key]: value[:_TAG_LENGTH] for key, value in values.items() if value}


def points(values: Mapping[str, Any], time: int, step: int = 0) -> tuple[Point, ...]:
    """Returns the finite numbers among some values as metrics.

    Args:
        values: by name.
        time: in milliseconds since 1970.
        step: the epoch; 0 for none.
    """
    names = _allowed(values, lambda name: "/".join(map(clean_name, name.split("/"))))
    return tuple(
        Point(names[name], float(value), time, step)
        for name, value in values.items()
        if isinstance(value, numbers.Real) and math.isfinite(value)
    )


def _allowed(names: Iterable[str], clean: Callable[[str], str] = clean_name) -> dict[str, str]:
    """Names that MLflow allows, by those that were chosen."""
    return distinct(names, clean, _NAME_LENGTH)
