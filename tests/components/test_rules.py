"""Which models may be served, and what is said about it."""

import numpy as np
import pytest
from pydantic import ValidationError
from stage_runner import commit

from components import files
from components.artifacts.evaluation import Evaluation, write_figures
from components.evaluate.answers import Answers
from components.evaluate.config import EvaluateConfig, SliceThreshold, Threshold
from components.evaluate.measure import Measure
from components.evaluate.measured import Measured
from components.evaluate.rules import apply_rules
from components.work import Made, Work

PLAIN = Measured({"metrics": {"exact_match": 0.9712, "character_error_rate": 0.021}, "slices": {}}, {})
NONE = ["no thresholds in evaluate.bless: not blessed; set `evaluate.bless`, or `bless: always`"]


@pytest.mark.parametrize(
    ("bless", "blessed", "reasons"),
    [
        ({"exact_match": Threshold(min=0.97)}, True, ["exact_match 0.9712 >= 0.97 (min)"]),
        (
            {"exact_match": Threshold(min=0.97), "character_error_rate": Threshold(max=0.02)},
            False,
            ["character_error_rate 0.021 > 0.02 (max): fails by 0.001", "exact_match 0.9712 >= 0.97 (min)"],
        ),
        (
            {"exact_match": Threshold(min=0.98, max=1.0)},
            False,
            ["exact_match 0.9712 < 0.98 (min): fails by 0.0088", "exact_match 0.9712 <= 1 (max)"],
        ),
        ({"exact_match": Threshold(min=0.9712)}, True, ["exact_match 0.9712 >= 0.9712 (min)"]),
        (
            {"exact_match": Threshold(max_regression=0.1)},
            True,
            ["exact_match: no champion yet (max_regression)"],
        ),
        (
            {"bleu": Threshold(min=1)},
            False,
            ["bleu is not defined on these examples (min 1)"],
        ),
        ("always", True, ["bless: always"]),
        (None, False, NONE),
        ({}, False, NONE),
    ],
)
def test_thresholds(bless, blessed, reasons):
    verdict = apply_rules(EvaluateConfig(bless=bless), PLAIN)
    assert (verdict.blessed, verdict.reasons) == (blessed, reasons)


@pytest.mark.parametrize(
    ("bless", "split", "blessed", "first"),
    [
        ({"exact_match": {"min": 0.97}}, "test", True, "exact_match 0.9712 >= 0.97 (min)"),
        ({"exact_match": {"min": 0.97}}, "validation", False, "there is no test split: what is measured on"),
        ({"exact_match": {"min": 0.98}}, "validation", False, "there is no test split: what is measured on"),
        ({"exact_match": {"min": 0.97}, "on": "validation"}, "validation", True, "exact_match 0.9712"),
        (
            {"exact_match": {"min": 0.98}, "on": "validation"},
            "validation",
            False,
            "exact_match 0.9712 < 0.98",
        ),
        ({"exact_match": {"min": 0.97}, "on": "validation"}, "test", True, "exact_match 0.9712"),
        ({"on": "validation"}, "validation", False, NONE[0]),
        ("always", "validation", True, "bless: always"),
    ],
)
def test_bounds_are_held_against_a_test_split_unless_it_is_said_otherwise(bless, split, blessed, first):
    model = Measured({**PLAIN.report, "split": split}, {})
    verdict = apply_rules(EvaluateConfig.model_validate({"bless": bless}), model)
    assert verdict.blessed == blessed
    assert verdict.reasons[0].startswith(first)
    if first.startswith("there"):
        assert "set `on: validation` in `evaluate.bless`" in verdict.reasons[0]
        assert (verdict.rules[0].kind, verdict.rules[0].met) == ("split", False)
        assert verdict.reasons[1].startswith("exact_match 0.9712")  # it is said all the same


def measured(right, total=400, slices=(), metric="exact_match", seed=0):
    """A model with so many right answers, its metric measured as ever; slices are (name, right, total)."""
    combiner = Measure([metric], 1000)

    def report(right, total, first=0):
        order = np.random.default_rng(seed).permutation(total)
        targets = ["ab"] * total
        predictions = ["ab" if place < right else "xy" for place in order]
        numbers = np.arange(first, first + total)
        answers = Answers.of(targets, targets, predictions, numbers=numbers)
        return combiner.extract_output(combiner.add_input(combiner.create_accumulator(), answers))

    by_name = {name: report(*counts) for name, *counts in slices}
    return {**report(right, total), "slices": {"topic": by_name}}


def as_files(tmp_path, name, report):
    work = Work(files.resolve(tmp_path), Evaluation.stage, name)
    with work.attempt() as attempt:
        made = Made(tuple(write_figures(attempt, "test", report)), {})
    return commit(Evaluation, work, made).measured()


def test_what_was_measured_survives_its_files(tmp_path):
    report = measured(300, slices=[("ä/b\tc", 10, 20), ("d", 5, 20)])
    found = as_files(tmp_path, "model", report)
    assert found.report["split"] == "test"
    assert found.value("exact_match", ()) == 0.75
    assert found.value("exact_match", ("topic", "ä/b\tc")) == 0.5
    assert found.value("exact_match", ("topic", "nowhere")) is None
    np.testing.assert_allclose(
        found.resamples("exact_match", ("topic", "d")),
        report["slices"]["topic"]["d"]["resampled"]["exact_match"],
        rtol=1e-6,
    )
    assert found.places("topic") == [("topic", "ä/b\tc"), ("topic", "d")]
    assert found.places("topic=d") == [("topic", "d")]


@pytest.mark.parametrize(
    ("right", "blessed", "said"),
    [
        (340, True, "exact_match 0.85 beside 0.8 of version 3: no drop (max_regression), in 98."),
        (318, True, "a drop of 0.005 <= 0.01 (max_regression), in "),
        (
            312,
            True,
            "a drop of 0.02 > 0.01 (max_regression), but within the noise: 95 % of the paired resamples",
        ),
        (260, False, "a drop of 0.15 > 0.01 (max_regression): fails by 0.14, in 100 % of the resamples"),
    ],
)
def test_a_drop_counts_unless_it_could_be_chance(tmp_path, right, blessed, said):
    champion = as_files(tmp_path, "champion", measured(320, seed=1))
    model = as_files(tmp_path, "model", measured(right))
    config = EvaluateConfig(bless={"exact_match": Threshold(max_regression=0.01)})
    verdict = apply_rules(config, model, champion, "version 3")
    assert verdict.blessed == blessed
    assert said in verdict.reasons[0]
    assert verdict.champion == "version 3"
    (rule,) = verdict.rules
    assert (rule.kind, rule.met, rule.bound) == ("max_regression", blessed, 0.01)
    assert rule.value == pytest.approx(0.8 - right / 400)


def test_the_same_drop_counts_where_the_pairs_agree(tmp_path):
    """Eight answers of 400 that only the champion has right are no chance; 2 % of unrelated answers are."""
    champion = as_files(tmp_path, "champion", measured(320))
    model = as_files(tmp_path, "model", measured(312))  # wrong wherever the champion is, and eight times more
    config = EvaluateConfig(bless={"exact_match": Threshold(max_regression=0.01)})
    verdict = apply_rules(config, model, champion, "version 3")
    assert not verdict.blessed
    assert "fails by 0.01" in verdict.reasons[0]


def test_an_error_drops_by_growing(tmp_path):
    champion, model = (
        as_files(tmp_path, name, measured(right, metric="character_error_rate"))
        for name, right in (("champion", 390), ("model", 300))
    )
    config = EvaluateConfig(bless={"character_error_rate": Threshold(max_regression=0.05)})
    verdict = apply_rules(config, model, champion, "version 3")
    assert not verdict.blessed
    assert "a drop of 0.225 > 0.05" in verdict.reasons[0]
    assert apply_rules(config, champion, model, "version 3").blessed


def test_bounds_in_slices(tmp_path):
    slices = [("art", 150, 200), ("war", 90, 200)]
    model = as_files(tmp_path, "model", measured(240, slices=slices))
    champion = as_files(tmp_path, "champion", measured(240, slices=[("art", 150, 200), ("war", 180, 200)]))
    bounds = {"topic": SliceThreshold(min=0.5), "topic=art": SliceThreshold(max_regression=0.0)}
    threshold = Threshold(min=0.5, slices={**bounds, "topic=law": SliceThreshold(min=0.5)})
    config = EvaluateConfig(slices=["topic"], bless={"exact_match": threshold})
    verdict = apply_rules(config, model, champion, "version 1")
    assert not verdict.blessed
    assert [(rule.slice, rule.kind, rule.met) for rule in verdict.rules] == [
        ("topic=war", "min", False),  # what keeps it from being served comes first
        ("topic=law", "slice", False),
        ("", "min", True),
        ("topic=art", "min", True),
        ("topic=art", "max_regression", True),
    ]
    assert verdict.reasons[0].startswith("exact_match in topic=war 0.45 < 0.5 (min): fails by 0.05, in ")
    assert verdict.reasons[1] == "exact_match in topic=law: there is no such slice; the data has art, war"
    assert verdict.rules[0].confidence > 0.8
    assert verdict.as_json()["rules"][1]["confidence"] is None


def test_a_slice_that_the_champion_could_not_be_measured_on_does_not_block(tmp_path):
    model = as_files(tmp_path, "model", measured(240, slices=[("art", 150, 200)]))
    champion = as_files(tmp_path, "champion", measured(240))
    threshold = Threshold(slices={"topic": SliceThreshold(max_regression=0.0)})
    config = EvaluateConfig(slices=["topic"], bless={"exact_match": threshold})
    assert apply_rules(config, model, champion, "version 1").blessed


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "expected min, max, max_regression, max_forgetting or several"),
        ({"min": 2, "max": 1}, "min 2 is above max 1"),
        ({"min": float("nan")}, "finite"),
        ({"max_regression": -0.1}, "greater than or equal to 0"),
        ({"slices": {"length": {}}}, "expected min, max, max_regression"),
    ],
)
def test_thresholds_that_cannot_be_meant(bounds, message):
    with pytest.raises(ValidationError, match=message):
        Threshold(**bounds)


def test_bounds_on_slices_that_are_not_made():
    threshold = {"min": 0.5, "slices": {"topic=war": {"min": 0.1}}}
    with pytest.raises(ValidationError, match=r"by topic=war, but the slices are by length.*add topic to"):
        EvaluateConfig(bless={"accuracy": threshold})


def test_a_drop_needs_resamples():
    with pytest.raises(ValidationError, match="resamples is 0, but bless has a max_regression"):
        EvaluateConfig(resamples=0, bless={"accuracy": {"max_regression": 0.01}})
