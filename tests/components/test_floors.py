"""Floors, computed by hand on answers that fit on a page, and what is said of a model beside them."""

import numpy as np
import pytest

from components.evaluate.answers import Answers
from components.evaluate.doubts import Varied, Variety, doubts
from components.evaluate.floors import Commonest, beside, constant, copied, floor_answers, value
from components.evaluate.linear import LinearFloor, NoFloorError
from components.evaluate.measure import Measure
from components.evaluate.metrics import METRICS, MetricInfo, SummedMetric

TEXTS = ["ab", "b", "c", "abc"]
PAIRS = Answers.of(TEXTS, ["ab", "B", "c", "xbc"], ["ab", "B", "x", "xbc"])


def report_of(answers, metrics, resamples=500):
    measure = Measure(metrics, resamples)
    report = measure.extract_output(measure.add_input(measure.create_accumulator(), answers))
    return {**report, "smaller_is_better": measure.errors}


def test_a_copy_is_measured_as_any_answer():
    copy = copied(PAIRS)
    assert copy.predictions == TEXTS
    assert value("exact_match", copy) == 2 / 4
    assert value("character_error_rate", copy) == (1 + 1) / (2 + 1 + 1 + 3)
    assert value("character_error_rate", PAIRS) == 1 / 7
    assert (
        value("character_error_rate", copy)
        == report_of(copy, ["character_error_rate"])["metrics"].popitem()[1]
    )


def test_the_commonest_target_is_measured_as_any_answer():
    names, answers = zip(*floor_answers(PAIRS, "seq2seq", Commonest("ab", 3)), strict=True)
    assert names == ("copy", "commonest")
    assert answers[1].predictions == ["ab"] * 4
    assert value("exact_match", answers[1]) == 1 / 4
    # ab: 0, B: 2, c: 2, xbc: 2 (one letter is another one, and one is missing) of 7 characters
    assert value("character_error_rate", answers[1]) == 6 / 7


def test_the_majority_answer_has_no_score_and_ranks_nothing():
    answers = Answers.of(
        ["a", "b", "c"],
        ["yes", "no", "yes"],
        ["yes", "no", "no"],
        scores=np.array([0.9, 0.8, 0.6], np.float32),
        probabilities=np.array([0.9, 0.2, 0.4], np.float32),
        positives=np.array([1, 0, 1], np.int8),
    )
    ((name, majority),) = floor_answers(answers, "classification", Commonest("yes", 5))
    metrics = report_of(majority, ["accuracy", "macro_f1", "calibration_error", "roc_auc"])["metrics"]
    assert name == "majority"
    assert metrics == {
        "accuracy": pytest.approx(2 / 3),
        "macro_f1": pytest.approx((2 * 2 / 5 + 0) / 2),
        "roc_auc": 0.5,
    }
    assert answers.scores[0] > 0  # those of the model are as they were


def test_the_difference_from_a_floor_is_a_paired_bootstrap():
    targets = ["x"] * 300 + ["y"] * 100
    model = Answers.of(targets, targets, ["x"] * 300 + ["y"] * 40 + ["x"] * 60)
    reports = [report_of(each, ["exact_match"]) for each in (model, constant(model, "x"))]
    told = beside(*reports)
    assert told["metrics"] == {"exact_match": 0.75}
    low, high = told["differences"]["exact_match"]
    expected = np.percentile(
        reports[0]["resampled"]["exact_match"] - reports[1]["resampled"]["exact_match"], [2.5, 97.5]
    )
    assert (low, high) == pytest.approx(tuple(expected))
    assert 0.05 < low < 0.1 < high < 0.15


def said(targets, predictions, metrics=("exact_match",), floor="majority", text="x", split="test", **more):
    answers = Answers.of(targets, targets, predictions)
    report = report_of(answers, metrics, **more)
    told = beside(report, report_of(constant(answers, text), metrics, **more))
    if floor != "copy":
        told["answer"] = text
    combiner = Varied()
    variety = combiner.extract_output(combiner.add_input(combiner.create_accumulator(), answers))
    return list(doubts(report, {floor: told}, variety, split))


X, Y = ["x"] * 150, ["y"] * 150
FEW = "the test split has 10 examples, fewer than 200: the 95 % interval of exact_match is 30 points wide"


@pytest.mark.parametrize(
    ("targets", "predictions", "expected"),
    [
        (X + Y, X + Y, []),
        (
            X + Y,
            X[:75] + Y + X[:75],
            ["not clearly above the floor majority ('x' to everything): exact_match"],
        ),
        (X + Y, X + X, ["all answers are alike, 'x': the model does not look", "not clearly above"]),
        (X + Y, [""] * 300, ["all answers are empty: the model has learnt nothing", "not clearly above"]),
        (X + Y, [" "] * 150 + [""] * 150, ["all answers are empty", "not clearly above"]),
        (X + X, X + X, ["not clearly above the floor majority"]),  # as they should be: there is one label
        (["x", "y"] * 5, ["x", "y"] * 5, [FEW]),
        (["y", "z"] * 150, ["w", "v"] * 150, ["exact_match 0.0000, the floor 0.0000"]),
    ],
)
def test_what_is_doubtful(targets, predictions, expected):
    found = said(targets, predictions)
    assert len(found) == len(expected), found
    for sentence, part in zip(found, expected, strict=True):
        assert part in sentence


def test_a_difference_that_could_be_chance_is_no_difference():
    """Of 300 right answers 3 more are; with ten times as many more it is one."""
    (warning,) = said(X + Y, X + Y[:3] + X[3:])
    assert "exact_match 0.5100, the floor 0.5000: 95 % of the paired resamples differ by +0.00" in warning
    assert said(X + Y, X + Y[:30] + X[30:]) == []


def test_without_resamples_the_figures_decide():
    assert said(X + Y, X + Y[:3] + X[3:], resamples=0) == []
    (warning,) = said(["x", "y"], ["x", "y"], resamples=0, split="validation")
    assert warning == "the validation split has 2 examples, fewer than 200: too few to tell models apart"
    (warning,) = said(X + Y, X[:20] + ["z"] * 280, resamples=0)
    assert warning.endswith("exact_match 0.0667, the floor 0.5000")


def test_where_nothing_is_matched_exactly_the_next_metric_decides():
    """As in translation: neither sentence is one of the references, but one is near to them."""
    targets, near = ["a long sentence", "another one"] * 150, ["a long sentense", "anothre one"] * 150
    metrics = ("exact_match", "character_error_rate")
    assert said(targets, near, metrics, text="zzz") == []
    (warning,) = said(targets, ["qqqqqq", "zzzzzz"] * 150, metrics, "copy", text="a long one")
    assert "floor copy: character_error_rate 1.0000, the floor 0." in warning


@pytest.mark.parametrize(
    ("right", "total", "width"),
    [(100, 100, "3 points"), (1, 1, "100 points"), (50, 100, None)],
)
def test_an_interval_without_an_error_is_not_said_to_be_nothing(right, total, width):
    texts = [f"{place}" for place in range(total)]
    report = report_of(Answers.of(texts, texts, texts[:right] + ["x"] * (total - right)), ["exact_match"])
    (warning,) = doubts(report, {}, Variety(total), "test")
    low, high = report["intervals"]["exact_match"]
    assert f"is {width or f'{100 * (high - low):.3g} points'} wide" in warning


WORDS = [
    ("a good film", "pos"),
    ("good plot, good film", "pos"),
    ("the film was great", "pos"),
    ("a bad film", "neg"),
    ("bad plot and bad music", "neg"),
    ("the plot was awful", "neg"),
    ("an actor, a story", "other"),
]
CHARACTERS = [("这部电影很好看", "好"), ("很好的故事", "好"), ("这部电影很难看", "坏"), ("很坏的故事", "坏")]


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        (WORDS, {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)}),
        (CHARACTERS, {"analyzer": "char", "ngram_range": (1, 3)}),
    ],
)
def test_the_linear_floor_is_scikit_learns(rows, how):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, labels = map(list, zip(*rows, strict=True))
    known = make_pipeline(TfidfVectorizer(sublinear_tf=True, **how), LogisticRegression(C=10, max_iter=1000))
    known.fit(texts, labels)
    floor = LinearFloor([(texts[:3], labels[:3]), (texts[3:], labels[3:])])
    new = [*texts, "a great plot", "电影很坏", ""]
    assert floor.labels == list(known.classes_)
    np.testing.assert_allclose(floor.probabilities(new), known.predict_proba(new), atol=1e-3)


class _Sure(SummedMetric):
    """Wrong answers of a score of at least 0.5."""

    def columns(self, answers):
        wrong = ~np.asarray(answers.correct)
        return {"sure": wrong & (answers.scores >= 0.5), "all": np.ones(len(wrong))}

    def score(self, sums):
        return sums["sure"] / np.maximum(sums["all"], 1)


@pytest.mark.parametrize("by_score", [True, False])
def test_a_metric_of_scores_has_no_floor(monkeypatch, by_score):
    info = MetricInfo("sure", ("classification",), _Sure, smaller_is_better=True, by_score=by_score)
    monkeypatch.setitem(METRICS, "sure", info)
    answers = Answers.of(["a", "b"], ["yes", "no"], ["yes", "yes"], scores=np.array([0.9, 0.8], np.float32))
    ((_, majority),) = floor_answers(answers, "classification", Commonest("yes", 5))
    assert report_of(answers, ["sure"])["metrics"] == {"sure": 0.5}
    assert report_of(majority, ["sure"])["metrics"] == ({} if by_score else {"sure": 0.0})


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("!!!", "a"), ("???", "b")], "no text of the train split has a word in it"),
        ([("a word", "a"), ("two words", "a")], "the train split has 1 label, not two"),
        ([], "the train split has 0 labels, not two"),
    ],
)
def test_where_nothing_can_be_fitted_there_is_no_linear_floor(rows, why):
    batches = [(list(texts), list(labels)) for texts, labels in [zip(*rows, strict=True)]] if rows else []
    with pytest.raises(NoFloorError, match=why):
        LinearFloor(batches)


def test_labels_that_alternate_are_both_in_a_part():
    texts = [f"word{place % 7} {'bad' if place % 2 else 'good'}" for place in range(256)]
    labels = ["neg" if place % 2 else "pos" for place in range(256)]
    floor = LinearFloor([(texts, labels)], entries=3 * 64)
    assert floor.labels == ["neg", "pos"]


def test_of_too_many_texts_a_part_is_fitted_to():
    """Also of a file that is sorted by label."""
    texts = [f"word{place % 7} {'good' if place < 32 else 'bad'}" for place in range(64)]
    labels = ["pos"] * 32 + ["neg"] * 32
    whole = [(texts[start : start + 5], labels[start : start + 5]) for start in range(0, 64, 5)]
    entries = 3 * 16  # two words and their pair, of 16 texts
    some = LinearFloor(whole, entries=entries)
    assert [some.labels[place] for place in some.probabilities(texts).argmax(axis=1)] == labels
