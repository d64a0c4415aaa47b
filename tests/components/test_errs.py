"""Where a model errs: slices that are worse than the rest, and which labels are taken for which others."""

import json
from collections import Counter

import numpy as np
import pytest
from stage_runner import run_transform

from components.evaluate.answers import Answers
from components.evaluate.confused import Confused
from components.evaluate.looked_at import chosen
from components.evaluate.metrics import metric_info
from components.evaluate.slices import make_slicing
from components.evaluate.worst import graded
from components.evaluate.worst_slices import _sliced, _Sums, searched_metric, slice_words, worst_slices

TOPICS = [f"topic {number}" for number in range(12)]


def searched(right, topics, lengths, unknown, metric="accuracy"):
    """What is found among some answers, of which some are right."""
    texts = ["x" * length for length in lengths]
    predictions = ["a" if good else "b" for good in right]
    answers = Answers.of(
        texts, ["a"] * len(texts), predictions, columns={"topic": topics}, unknown=np.asarray(unknown)
    )
    slicings = [
        make_slicing("length", Counter(lengths)),
        make_slicing("topic", Counter(topics)),
        make_slicing("unknown", Counter()),
    ]
    sums = _Sums([metric], 200)
    add = lambda some: sums.add_input(sums.create_accumulator(), some)  # noqa: E731
    parts = [(place, add(part)) for place, part in _sliced(answers, slicings)]
    return worst_slices(add(answers), parts, metric_info(metric))


def draw(seed, count=600):
    random = np.random.default_rng(seed)
    topics = [TOPICS[place] for place in random.integers(0, len(TOPICS), count)]
    lengths = random.integers(1, 80, count).tolist()
    unknown = random.choice([0.0, 0.03, 0.1, 0.5], count)
    return random, topics, lengths, unknown


def test_a_planted_slice_is_found_with_its_numbers():
    random, topics, lengths, unknown = draw(1)
    bad = np.asarray([topic == "topic 3" for topic in topics])
    right = random.random(600) < np.where(bad, 0.5, 0.9)
    found = searched(right, topics, lengths, unknown)
    (row,) = found["slices"]
    assert (row["column"], row["value"], row["examples"]) == ("topic", "topic 3", bad.sum())
    assert row["metric"] == pytest.approx(right[bad].mean())
    assert row["elsewhere"] == pytest.approx(right[~bad].mean())
    assert row["interval"][0] < row["metric"] < row["interval"][1] < row["elsewhere"]
    assert found["looked_at"] == 8 + 12 + 4
    words = slice_words(found)
    assert words.startswith("worst slice of 24: topic topic 3: accuracy 0.")
    assert words.endswith(" elsewhere")


def test_texts_with_unknown_tokens_are_found():
    random, topics, lengths, unknown = draw(2)
    right = random.random(600) < np.where(unknown > 0.2, 0.6, 0.95)
    (row,) = searched(right, topics, lengths, unknown)["slices"]
    assert (row["column"], row["value"]) == ("unknown", "over 20 %")


@pytest.mark.parametrize("quality", [0.03, 0.1, 0.6, 0.95])
def test_without_a_bad_slice_nothing_is_found(quality):
    for seed in range(20):
        random, topics, lengths, unknown = draw(100 + seed)
        found = searched(random.random(600) < quality, topics, lengths, unknown)
        assert found["slices"] == [], seed
        assert slice_words(found) == ""


def test_a_slice_where_nothing_is_right_does_not_vary_and_is_found():
    topics = ["topic 1"] * 200 + ["topic 2"] * 800
    right = [False] * 200 + [True] * 800
    (row,) = searched(right, topics, [5] * 1000, [0.0] * 1000)["slices"]
    assert (row["value"], row["metric"], row["elsewhere"]) == ("topic 1", 0.0, 1.0)


def test_small_slices_of_a_model_that_is_seldom_right_are_no_finding():
    topics = [f"small {place}" for place in range(20) for _ in range(25)] + ["large"] * 1500
    for seed in range(10):
        right = np.random.default_rng(seed).random(2000) < 0.05
        assert searched(right, topics, [5] * 2000, [0.0] * 2000)["slices"] == [], seed


def test_few_examples_are_not_looked_at():
    topics = ["rare"] * 19 + ["usual"] * 181
    right = [False] * 19 + [True] * 181
    found = searched(right, topics, [5] * 200, [0.0] * 200)
    assert (found["looked_at"], found["slices"]) == (0, [])


def test_errors_are_worse_where_they_are_larger():
    random, topics, lengths, unknown = draw(3)
    bad = np.asarray([topic == "topic 5" for topic in topics])
    right = random.random(600) < np.where(bad, 0.4, 0.9)
    (row,) = searched(right, topics, lengths, unknown, "character_error_rate")["slices"]
    assert row["value"] == "topic 5"
    assert row["metric"] > row["elsewhere"]


def test_the_first_metric_that_counts_every_example_by_itself_is_searched():
    assert searched_metric(["roc_auc", "macro_f1", "calibration_error", "accuracy"]) == "accuracy"
    assert searched_metric(["bleu", "exact_match"]) == "bleu"
    assert searched_metric(["roc_auc", "macro_f1"]) is None


def test_confusions_have_the_examples_that_the_model_was_surest_of():
    hostile = "<script>\u202e שלום</script>" + "x" * 600
    texts = [f"text {place}" for place in range(9)] + [hostile]
    targets, predictions = ["a"] * 8 + ["b", "c"], ["b"] * 7 + ["a", "a", "<b>"]
    scores = np.asarray([0.5, 0.9, 0.6, 0.7, 0.95, 0.8, 0.55, 0.99, 0.6, 0.7], np.float32)
    rows = list(graded(Answers.of(texts, targets, predictions, scores=scores), "classification"))
    (cells,) = run_transform(Confused(), rows)
    assert [tuple(cell[name] for name in ("expected", "predicted", "examples")) for cell in cells] == [
        ("a", "b", 7),
        ("c", "<b>", 1),
        ("b", "a", 1),
    ]
    assert [row["example"] for row in cells[0]["answers"]] == [5, 2, 6, 4, 3]
    (odd,) = [cell for cell in cells if cell["expected"] == "c"]
    assert len(odd["answers"][0]["input"]) == 500
    (again,) = run_transform(Confused(), rows[::-1])
    assert json.dumps(again) == json.dumps(cells)


def test_worst_and_confused_answers_are_looked_at_once():
    worst = [{"example": number} for number in range(1, 30)]
    confused = [
        {"expected": "a", "predicted": "b", "answers": [{"example": number}]} for number in (3, 40, 41)
    ]
    picked = chosen(worst, confused)
    assert [row["example"] for row in picked] == [1, 2, 3, 4, 5, 40, 41, 6, 7, 8]
    assert picked[5] == {"example": 40, "target": "a", "prediction": "b"}
