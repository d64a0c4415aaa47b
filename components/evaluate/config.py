"""Configuration of the evaluate stage: what is measured, and what is good enough to be served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Field,
    FiniteFloat,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from components.evaluate.metrics import METRICS, RESERVED, load_metric, metric_info, metric_names
from components.plugins import PATTERN, PluginError, is_reference
from components.strict import Strict, Task

_NO_BOUNDS = "no thresholds in evaluate.bless: not blessed; set `evaluate.bless`, or `bless: always`"
_NO_TEST_SPLIT = (
    "there is no test split: what is measured on validation may have decided when training ended; give "
    "examples for test in `ingest.files` or `ingest.holdout`, or set `on: validation` in `evaluate.bless`"
)


class _KnownMetric:
    """Metadata of a string: the name of a metric, or a reference to one in a module of the user's."""

    @staticmethod
    def _check(name: str) -> str:
        if is_reference(name):
            try:
                load_metric(name)
            except PluginError as error:
                raise PluginError(f"received '{name}', {error}") from error
        elif name not in METRICS:
            raise PydanticCustomError("unknown_metric", "expected the name of a metric")
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return _named(*METRICS)


def _named(*names: str) -> dict[str, Any]:
    """The schema of one of these names, or of a reference to a metric in a module of the user's."""
    own = {"type": "string", "pattern": PATTERN, "examples": ["my_module:my_metric"]}
    return {"type": "string", "anyOf": [{"type": "string", "enum": list(names)}, own]}


Metric = Annotated[str, _KnownMetric()]


class SliceThreshold(Strict):
    """Bounds that a metric must keep in a slice."""

    renamed: ClassVar[Mapping[str, str]] = {"max_drop": "max_regression"}

    min: FiniteFloat | None = None
    """The least that is good enough."""
    max: FiniteFloat | None = None
    """The most that is good enough, of an error."""
    max_regression: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """How much worse than the champion's the metric may be, in its own unit. A drop that could be chance (the
    middle 95 % of a paired bootstrap hold no drop at all) does not count."""
    max_forgetting: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """The same with `train.init_from`, beside the initial model on its own test set."""

    @model_validator(mode="after")
    def _bounds(self) -> SliceThreshold:
        bounds = (self.min, self.max, self.max_regression, self.max_forgetting)
        if all(bound is None for bound in bounds) and not self._others():
            raise ValueError("expected min, max, max_regression, max_forgetting or several of them")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: no model could meet both")
        return self

    def _others(self) -> bool:
        return False


class Threshold(SliceThreshold):
    """Bounds that a metric must keep."""

    slices: dict[str, SliceThreshold] = Field(default_factory=dict)
    """Bounds in slices, by `column` (for each of its slices) or `column=value` (for that one)."""

    def _others(self) -> bool:
        return bool(self.slices)


class Bless(Strict):
    """What is good enough to be served: bounds by metric, and what they are measured on."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Metric, Threshold] = Field(init=False)
    on: Literal["test", "validation"] = "test"
    """`test`: only a model that was measured on a test split is pushed. `validation`: where there is no test
    split, figures of the validation split will do, although training may have been chosen by them."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Adds the names that keys may have."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        handler.resolve_ref_schema(schema)["propertyNames"] = _named(*METRICS, RESERVED)
        return schema

    @property
    def thresholds(self) -> dict[Metric, Threshold]:
        """The bounds by metric."""
        return self.__pydantic_extra__


class EvaluateConfig(Strict):
    """What is measured on the test split, and what is good enough to be served."""

    metrics: list[Metric] = Field(default_factory=list)
    """Default: all that fit the task. Floors are compared by the first one. Those with a threshold in `bless`
    are measured as well; roc_auc is left out unless train and test have the same two labels. A metric of your
    own is named as `my_module:my_metric`."""
    slices: list[str] = Field(default=["length"])
    """What the metrics are also measured by: `length` (characters of the input, in up to 8 ranges), `label`
    (classification), `unknown` (the share of its tokens that the vocabulary lacks) and columns of
    `ingest.keep` (their 50 most frequent values). The worst slices are searched for among these, `length`,
    `unknown` and `label`."""
    resamples: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Bootstrap resamples for the 95 % intervals and the comparison with the champion; 0 for none."""
    worst_examples: Annotated[int, Field(ge=0, le=10_000)] = 50
    """How many of the worst answers are listed."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Texts answered at once."""
    calibrate: Literal["temperature"] | None = None
    """Classification: `temperature` divides the logits by the number that makes the validation split most
    probable (Guo et al., 2017). Evaluated and served scores become calibrated; labels stay as they are."""
    target_accuracy: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    """Classification: the accuracy, a fraction, to look up a threshold on the score for: it is chosen on the
    validation split, and the report says which accuracy and coverage it has on the evaluated one."""
    attention_maps: Annotated[int, Field(ge=0)] = 4
    """seq2seq with attention: it is drawn what the decoder looked at in so many of the first examples and, if
    not 0, in the 10 worst answers."""
    baseline: Literal["tfidf"] | None = None
    """classification: beside the majority answer, `tfidf` also measures TF-IDF of words (in scripts without
    spaces: of characters) with a logistic regression that is fitted to train: a floor to be above."""
    bless: Bless | Literal["always"] | None = None
    """Bounds by metric (the names are those of `metrics`), and `on`. Without any bounds, no model is pushed;
    `always` pushes every model, whatever it was measured on."""

    @model_validator(mode="after")
    def _sound(self) -> EvaluateConfig:
        for metric, threshold in self.thresholds.items():
            least, greatest = metric_info(metric).range
            for bound in (threshold, *threshold.slices.values()):
                for key, value in (("min", bound.min), ("max", bound.max)):
                    if value is not None and not least <= value <= greatest:
                        raise ValueError(
                            f"bless has {key} {value:g} for {metric}, expected a number from {least:g} to "
                            f"{greatest:g}, the metric's range{_as_fraction(metric, value)}"
                        )
                drops = (("max_regression", bound.max_regression), ("max_forgetting", bound.max_forgetting))
                for key, value in drops:
                    if value is not None and value > greatest - least:
                        raise ValueError(
                            f"bless has {key} {value:g} for {metric}, which no drop exceeds: expected a "
                            f"number from 0 to {greatest - least:g}{_as_fraction(metric, value)}"
                        )
            for name in threshold.slices:
                column = name.partition("=")[0]
                if column not in self.slices:
                    raise ValueError(
                        f"bless has bounds on {metric} by {name}, but the slices are by "
                        f"{', '.join(self.slices) or 'nothing'}; expected `column` or `column=value`: add "
                        f"{column} to evaluate.slices"
                    )
        if (self.compares or self.remembers) and not self.resamples:
            raise ValueError(
                "resamples is 0, but bless has a max_regression or max_forgetting, which needs them to tell "
                "a drop from chance; expected some hundred"
            )
        return self

    @property
    def thresholds(self) -> dict[Metric, Threshold]:
        """The bounds by metric; none where `bless` is no mapping."""
        return self.bless.thresholds if isinstance(self.bless, Bless) else {}

    def refusal(self, is_tested: bool) -> str:
        """Says why no model is blessed, whatever its figures; empty if that depends on them.

        Args:
            is_tested: whether there is a test split to measure on.
        """
        if not isinstance(self.bless, Bless):
            return "" if self.bless == "always" else _NO_BOUNDS
        if not self.thresholds:
            return _NO_BOUNDS
        return "" if is_tested or self.bless.on == "validation" else _NO_TEST_SPLIT

    @property
    def compares(self) -> bool:
        """Whether any bound is on the difference from the champion."""
        return any(bound.max_regression is not None for bound in self._bounds_everywhere())

    @property
    def remembers(self) -> bool:
        """Whether any bound is on what a warm-started model has forgotten."""
        return any(bound.max_forgetting is not None for bound in self._bounds_everywhere())

    def _bounds_everywhere(self) -> list[SliceThreshold]:
        return [bound for one in self.thresholds.values() for bound in (one, *one.slices.values())]

    @property
    def own_references(self) -> Iterator[str]:
        """The metrics that are in modules of the user's."""
        return (name for name in {**dict.fromkeys(self.metrics), **self.thresholds} if is_reference(name))

    def measured(self, task: Task) -> list[Metric]:
        """Returns the metrics to report, in their order.

        Args:
            task: which of the two kinds of model is evaluated.

        Returns:
            Those named in `metrics` (all that fit the task, if none are), then those with a threshold; with
            `calibrate` also the calibration error.

        Raises:
            ValueError: if one of them does not fit the task.
        """
        calibration = ["calibration_error"] if self.calibrate else []
        wanted = dict.fromkeys([*(self.metrics or metric_names(task)), *self.thresholds, *calibration])
        for section, names in (("metrics", self.metrics), ("bless", self.thresholds)):
            for name in names:
                if task not in metric_info(name).tasks:
                    raise ValueError(
                        f"evaluate.{section}: {name} is no metric of the task {task}; "
                        f"expected some of {', '.join(metric_names(task))}"
                    )
        return list(wanted)


def _as_fraction(metric: str, value: float) -> str:
    """A hint for who writes a fraction in percent."""
    if metric_info(metric).range != (0.0, 1.0) or not 1 < value <= 100:
        return ""
    return f"; {metric} is a fraction: {value:g} % is written {value / 100:g}"
