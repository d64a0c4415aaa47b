"""The metrics: a row each says all that is known of one. The libraries that compute them load when used."""

from __future__ import annotations

import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from components.errors import UserError
from components.plugins import PluginError, is_reference, kind_of, load
from components.strict import FIELDS, Task

if TYPE_CHECKING:
    import numpy as np

    from components.evaluate.answers import Answers

    Array = np.ndarray[Any, Any]
    Columns = dict[Hashable, Any]  # by name, a whole number for each example [n]
    Sums = Mapping[Hashable, Array]  # by name, the column's sum in the examples and in each resample [1 + R]


class SummedMetric(ABC):
    """Computes a metric that follows from sums over the examples, however these are sharded."""

    @abstractmethod
    def columns(self, answers: Answers) -> Columns:
        """Returns what is summed, for each answer of a batch.

        Args:
            answers: the batch, of n answers.

        Returns:
            By any name, n whole numbers: their sums in float64 are exact in any order.
        """

    @abstractmethod
    def score(self, sums: Sums) -> Array:
        """Returns the metric for each of the sums; not a number where it is not defined.

        Args:
            sums: by the columns' names, float64 [1 + R]: of the examples, then of each resample.

        Returns:
            Floats [1 + R].
        """

    def details(self, sums: Sums) -> Mapping[str, Any]:
        """Returns what the report of all examples says beside the metric, as JSON; by default nothing."""
        return {}


class RankedMetric(ABC):
    """Computes a metric that needs all examples at once."""

    @abstractmethod
    def rows(self, answers: Answers) -> Array:
        """Returns what has to be known of each answer of a batch [n]."""

    @abstractmethod
    def score(self, rows: Array, resamples: int) -> Array:
        """Returns the metric; not a number where it is not defined.

        Args:
            rows: of all examples, in any order [n]; `rows["number"]` decides how often a resample counts one.
            resamples: how many.

        Returns:
            Floats [1 + resamples]: of the examples, then of each resample.
        """


RESERVED = "on"
"""No name of a metric: in `evaluate.bless` it says what the bounds are measured on."""


@dataclass(frozen=True)
class MetricInfo:
    """All that is known of a metric.

    Args:
        name: as in `evaluate.metrics`, in reports and in MLflow: letters, digits and underscores.
        tasks: those it is a metric of.
        computed_by: makes what computes it, a `SummedMetric` or a `RankedMetric`; called where it is used.
        smaller_is_better: whether it is an error.
        range: the least and the greatest value; a bound in `evaluate.bless` outside of it is refused.
        title: what plots call it; by default the name, with spaces.
        format: how a value is shown, as in `format()`.
        two_labels: whether it is defined only where the model has two labels, and the examples no third one.
        by_example: whether every example counts by itself, so that a part of the examples compares with the
            rest, as for the worst slices; not so for means over labels or bins.
        by_score: whether it goes by the answers' scores: floors, whose answers have none, are not measured.
    """

    name: str
    tasks: tuple[Task, ...]
    computed_by: Callable[[], SummedMetric | RankedMetric]
    smaller_is_better: bool = False
    range: tuple[float, float] = (0.0, 1.0)
    title: str = ""
    format: str = ".4f"
    two_labels: bool = False
    by_example: bool = False
    by_score: bool = False

    def __post_init__(self) -> None:
        if self.name == RESERVED or not (re.fullmatch(r"\w+", self.name) or is_reference(self.name)):
            raise ValueError(
                f"Received an invalid value for argument `name`, expected letters, digits and underscores, "
                f"and not {RESERVED!r}, got {self.name!r}."
            )
        if not self.tasks or not set(self.tasks) <= set(FIELDS):
            raise ValueError(
                f"Received an invalid value for argument `tasks`, expected some of {', '.join(FIELDS)}, "
                f"got {self.tasks!r}."
            )
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))


def _fraction_correct() -> SummedMetric:
    from components.evaluate.summed import FractionCorrect

    return FractionCorrect()


def _macro_f1() -> SummedMetric:
    from components.evaluate.summed import MacroF1

    return MacroF1()


def _calibration_error() -> SummedMetric:
    from components.evaluate.summed import CalibrationError

    return CalibrationError()


def _roc_auc() -> RankedMetric:
    from components.evaluate.roc import RocAuc

    return RocAuc()


def _character_errors() -> SummedMetric:
    from components.evaluate.summed import ErrorRate

    return ErrorRate(words=False)


def _word_errors() -> SummedMetric:
    from components.evaluate.summed import ErrorRate

    return ErrorRate(words=True)


def _bleu() -> SummedMetric:
    from components.evaluate.summed import CorpusScore, sacrebleu_bleu

    return CorpusScore(sacrebleu_bleu())


def _chrf() -> SummedMetric:
    from components.evaluate.summed import CorpusScore, sacrebleu_chrf

    return CorpusScore(sacrebleu_chrf())


_LABEL: tuple[Task, ...] = ("classification",)
_TEXT: tuple[Task, ...] = ("seq2seq",)
# An error rate is above 1 where answers are far too long.
_ERRORS: dict[str, Any] = {"smaller_is_better": True, "range": (0.0, math.inf), "by_example": True}
_CORPUS: dict[str, Any] = {"range": (0.0, 100.0), "format": ".2f", "by_example": True}

METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo("accuracy", _LABEL, _fraction_correct, by_example=True),
        MetricInfo("macro_f1", _LABEL, _macro_f1, title="macro F1"),
        # Of one label a text, the same as accuracy.
        MetricInfo("micro_f1", _LABEL, _fraction_correct, title="micro F1", by_example=True),
        MetricInfo("calibration_error", _LABEL, _calibration_error, smaller_is_better=True, by_score=True),
        MetricInfo("roc_auc", _LABEL, _roc_auc, title="area under the ROC curve", two_labels=True),
        MetricInfo("exact_match", _TEXT, _fraction_correct, by_example=True),
        MetricInfo("character_error_rate", _TEXT, _character_errors, **_ERRORS),
        MetricInfo("word_error_rate", _TEXT, _word_errors, **_ERRORS),
        MetricInfo("bleu", _TEXT, _bleu, title="BLEU", **_CORPUS),
        MetricInfo("chrf", _TEXT, _chrf, title="chrF", **_CORPUS),
    )
}
"""By name, in the order of reports; `register` adds to them."""


def register(info: MetricInfo) -> MetricInfo:
    """Adds a metric to those that a configuration may name, and that are measured by default.

    Args:
        info: the row.

    Returns:
        The same row.

    Raises:
        ValueError: there is another metric of that name.
    """
    if METRICS.setdefault(info.name, info) != info:
        raise ValueError(f"There is a metric named {info.name} already; expected another name.")
    return info


def metric_names(task: Task) -> tuple[str, ...]:
    """Returns the names of the metrics of a task, in the order of reports."""
    return tuple(info.name for info in METRICS.values() if task in info.tasks)


def metric_info(name: str) -> MetricInfo:
    """Returns the row of a metric.

    Args:
        name: of a metric above, or `my_module:my_metric`, a row in a module of the user's.

    Raises:
        UserError: there is no such metric.
    """
    if is_reference(name):
        try:
            return load_metric(name)
        except PluginError as error:
            raise UserError(f"metric '{name}': received '{name}', {error}") from error
    if name not in METRICS:
        raise UserError(f"received the metric '{name}', expected one of {', '.join(METRICS)}")
    return METRICS[name]


def load_metric(reference: str) -> MetricInfo:
    """Returns the row of a metric in a module of the user's; it is named by the reference.

    Raises:
        PluginError: the reference leads to no row.
    """
    info = load(reference)
    if not isinstance(info, MetricInfo):
        raise PluginError(f"which is {kind_of(info)}, expected a {__name__}.{MetricInfo.__name__}")
    return _renamed(info, reference)


@cache
def _renamed(info: MetricInfo, name: str) -> MetricInfo:
    return replace(info, name=name)


def shown(name: str, value: float, sign: bool = False) -> str:
    """Returns a value of a metric as it is shown.

    Args:
        name: of the metric; nothing is imported to look it up.
        value: of the metric, or a difference of two.
        sign: whether to show the sign of positive numbers.
    """
    info = _known(name)
    form = info.format if info else MetricInfo.format
    return format(value, f"+{form}" if sign else form)


def title(name: str) -> str:
    """Returns what plots call a metric; nothing is imported to look it up."""
    info = _known(name)
    return info.title if info else name.replace("_", " ")


def _known(name: str) -> MetricInfo | None:
    """The row of a metric that an artifact names: what is read there must not decide what is imported."""
    if is_reference(name) and name.partition(":")[0] not in sys.modules:
        return None
    try:
        return metric_info(name)
    except UserError:
        return None
