"""What the rows of the metrics say, and what is refused."""

import math

import numpy as np
import pytest

from components.errors import UserError
from components.evaluate.answers import Answers
from components.evaluate.config import EvaluateConfig, Threshold
from components.evaluate.measure import Measure
from components.evaluate.measured import Measured
from components.evaluate.metrics import (
    METRICS,
    MetricInfo,
    SummedMetric,
    metric_info,
    metric_names,
    register,
    shown,
    title,
)


class Summing(SummedMetric):
    """Sums one column, and returns what is asked for."""

    def __init__(self, column, score=lambda sums: sums["x"]):
        self._column, self._score = column, score

    def columns(self, answers):
        return {"x": self._column}

    def score(self, sums):
        return self._score(sums)


@pytest.fixture
def measure():
    """Measures one metric of the test's own."""

    def made(metric, answers, **row):
        METRICS.pop("made", None)
        register(MetricInfo("made", ("seq2seq",), lambda: metric, **row))
        combiner = Measure(["made"], resamples=4)
        return combiner.extract_output(combiner.add_input(combiner.create_accumulator(), answers))

    yield made
    METRICS.pop("made", None)


ANSWERS = Answers.of(["x"] * 3, ["a"] * 3, ["a"] * 3)


def test_every_metric_stays_within_its_range():
    draw = np.random.default_rng(1)
    texts = ["".join(draw.choice(list("ab c"), 6)) for _ in range(40)]
    labels = [text[0] for text in texts]
    positives = draw.random(40) < 0.5
    others = {"scores": draw.random(40), "probabilities": draw.random(40), "positives": positives}
    for targets, task in ((texts, "seq2seq"), (labels, "classification")):
        answers = Answers.of(texts, targets, targets[20:] + targets[:20], **others)
        combiner = Measure(metric_names(task), 20)
        report = combiner.extract_output(combiner.add_input(combiner.create_accumulator(), answers))
        assert list(report["metrics"]) == list(metric_names(task))
        for name, value in report["metrics"].items():
            least, greatest = metric_info(name).range
            assert least <= value <= greatest, name
            assert least <= report["resampled"][name].min() <= report["resampled"][name].max() <= greatest


def test_errors_are_those_that_are_better_when_smaller():
    errors = [name for name, info in METRICS.items() if info.smaller_is_better]
    assert errors == ["calibration_error", "character_error_rate", "word_error_rate"]
    assert Measured({}, {}).smaller_is_better("word_error_rate")
    assert not Measured({}, {}).smaller_is_better("bleu")
    assert Measured({"smaller_is_better": ["gone:metric"]}, {}).smaller_is_better("gone:metric")
    assert not Measured({}, {}).smaller_is_better("gone:metric")


def test_a_metric_of_two_labels_is_left_out_elsewhere(measure):
    report = measure(Summing([1, 1, 1]), ANSWERS, two_labels=True)
    assert report["metrics"] == {}
    both = Answers.of(["x"] * 3, ["a"] * 3, ["a"] * 3, probabilities=np.ones(3), positives=np.ones(3, bool))
    assert measure(Summing([1, 1, 1]), both)["metrics"] == {"made": 3.0}


@pytest.mark.parametrize(
    ("column", "shape", "values"),
    [
        ([1, 1], "(2,)", "[1.0, 1.0]"),
        ([[1], [1], [1]], "(3, 1)", "[1.0, 1.0, 1.0]"),
        ([0.5, 1, 1], "(3,)", "[0.5, 1.0, 1.0]"),
        ([math.nan, 1, 1], "(3,)", "[nan, 1.0, 1.0]"),
    ],
)
def test_columns_are_whole_numbers_one_for_each_answer(measure, column, shape, values):
    with pytest.raises(UserError) as caught:
        measure(Summing(column), ANSWERS)
    assert str(caught.value) == (
        f"the metric made: its column 'x' has the shape {shape}, with the values {values}..., expected a"
        " whole number for each of the 3 answers; count in smaller units, such as thousandths"
    )


def test_scores_are_one_for_each_resample(measure):
    with pytest.raises(UserError, match=r"its `score` returned the shape \(\), expected \(5,\)"):
        measure(Summing([1, 1, 1], lambda sums: sums["x"][0]), ANSWERS)


FAILING = """
from components.evaluate.metrics import MetricInfo, SummedMetric


class Failing(SummedMetric):
    def columns(self, answers):
        return {"x": [len(answers.inputs[0]) / 0]}

    def score(self, sums):
        return sums["x"]


row = MetricInfo("failing", ("seq2seq",), Failing)
"""


def test_an_error_in_a_users_module_names_the_metric(tmp_path, monkeypatch):
    (tmp_path / "failing_metric.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    combiner = Measure(["failing_metric:row"], resamples=4)
    with pytest.raises(UserError) as caught:
        combiner.add_input(combiner.create_accumulator(), ANSWERS)
    assert str(caught.value) == ("the metric failing_metric:row failed: ZeroDivisionError: division by zero")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"name": "a b"},
            "argument `name`, expected letters, digits and underscores, and not 'on', got 'a b'",
        ),
        ({"name": "on"}, "argument `name`, .* and not 'on', got 'on'"),
        ({"tasks": ()}, r"argument `tasks`, expected some of classification, seq2seq, got \(\)"),
        ({"tasks": ("tagging",)}, "argument `tasks`"),
    ],
)
def test_a_row_that_cannot_be(row, message):
    with pytest.raises(ValueError, match=message):
        MetricInfo(**{"name": "a", "tasks": ("seq2seq",), "computed_by": Summing, **row})


def test_a_name_is_taken_once():
    register(METRICS["bleu"])
    with pytest.raises(ValueError, match="There is a metric named bleu already"):
        register(MetricInfo("bleu", ("seq2seq",), Summing))


def test_an_unknown_metric():
    with pytest.raises(UserError, match="received the metric 'blue', expected one of accuracy, macro_f1"):
        metric_info("blue")


def test_what_is_shown_of_a_metric():
    assert (shown("accuracy", 0.5), title("accuracy")) == ("0.5000", "accuracy")
    assert (shown("bleu", 31.256), title("chrf")) == ("31.26", "chrF")
    assert (shown("bleu", 1.0, sign=True), title("character_error_rate")) == ("+1.00", "character error rate")


def test_what_is_shown_imports_nothing(tmp_path, monkeypatch):
    """The name may come from an old run, or from another's."""
    (tmp_path / "never.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert (shown("never:metric", 0.5), title("never:my_metric")) == ("0.5000", "never:my metric")


@pytest.mark.parametrize(
    ("metric", "bound", "message"),
    [
        ("accuracy", {"min": 97.0}, "bless has min 97 for accuracy, expected a number from 0 to 1"),
        ("bleu", {"max": 101.0}, "bless has max 101 for bleu, expected a number from 0 to 100"),
        (
            "word_error_rate",
            {"max": -1.0},
            "bless has max -1 for word_error_rate, expected a number from 0 to",
        ),
        ("accuracy", {"slices": {"length": {"min": 50.0}}}, "bless has min 50 for accuracy"),
        ("accuracy", {"min": 85.0}, "range; accuracy is a fraction: 85 % is written 0.85"),
        ("macro_f1", {"max": 7.5}, "range; macro_f1 is a fraction: 7.5 % is written 0.075"),
        ("accuracy", {"max_regression": 5}, "which no drop exceeds: expected a number from 0 to 1; accuracy"),
        ("accuracy", {"max_regression": 1.5}, "accuracy is a fraction: 1.5 % is written 0.015"),
        (
            "accuracy",
            {"slices": {"length": {"max_regression": 5}}},
            "bless has max_regression 5 for accuracy",
        ),
        ("macro_f1", {"max_forgetting": 2}, "bless has max_forgetting 2 for macro_f1"),
        ("bleu", {"max_regression": 101}, r"expected a number from 0 to 100 \["),
        ("accuracy", {"max": 101.0}, r"from 0 to 1, the metric's range \["),
        ("bleu", {"min": 120.0}, r"from 0 to 100, the metric's range \["),
    ],
)
def test_a_bound_that_no_model_could_meet(metric, bound, message):
    with pytest.raises(ValueError, match=message):
        EvaluateConfig.model_validate({"bless": {metric: bound}})
    assert EvaluateConfig(bless={"word_error_rate": Threshold(max=3.0, max_regression=2.0)})
    assert EvaluateConfig(bless={"bleu": Threshold(max_regression=5.0)})
