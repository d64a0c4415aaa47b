"""The metrics equal the libraries', however the examples are cut into batches and shards."""

import warnings
from collections import Counter

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from components.evaluate.config import METRICS
from components.evaluate.metrics import Answers, combiners, length_buckets, merge_reports

ALPHABET = "ab cé\u0301日."
TEXTS = st.text(ALPHABET, max_size=12)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=40)
LABEL_PAIRS = st.lists(
    st.tuples(TEXTS, st.sampled_from("xyzü"), st.sampled_from("wxyü")), min_size=1, max_size=60
)


def measure(task, rows, draw, names=None):
    """Adds rows in random batches to random accumulators, and merges these in a random order."""
    names = names or METRICS[task]
    reports = []
    for combiner in combiners(task, names):
        accumulators = [combiner.create_accumulator() for _ in range(draw(st.integers(1, 4)))]
        start = 0
        while start < len(rows):
            end = start + draw(st.integers(1, len(rows)))
            place = draw(st.integers(0, len(accumulators) - 1))
            batch = Answers.normalized(*zip(*rows[start:end], strict=True))
            accumulators[place] = combiner.add_input(accumulators[place], batch)
            start = end
        accumulators = draw(st.permutations(accumulators))
        some = draw(st.integers(1, len(accumulators)))
        merged = combiner.merge_accumulators(accumulators[:some])
        reports.append(combiner.extract_output(combiner.merge_accumulators([merged, *accumulators[some:]])))
    return merge_reports(reports, names)


@given(LABEL_PAIRS, st.data())
@settings(deadline=None)
def test_classification_equals_scikit_learn(rows, data):
    report = measure("classification", rows, data.draw)
    _, targets, predictions = zip(*rows, strict=True)
    labels = sorted({*targets, *predictions})
    assert report["examples"] == len(rows)
    assert report["metrics"]["accuracy"] == pytest.approx(
        sklearn_metrics.accuracy_score(targets, predictions), abs=1e-9
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one label alone is a small problem
        macro_f1 = sklearn_metrics.f1_score(targets, predictions, average="macro", zero_division=0)
        matrix = sklearn_metrics.confusion_matrix(targets, predictions).tolist()
        figures = sklearn_metrics.precision_recall_fscore_support(
            targets, predictions, labels=labels, zero_division=0
        )
    assert report["metrics"]["macro_f1"] == pytest.approx(macro_f1, abs=1e-9)
    assert report["confusion"] == {"labels": labels, "counts": matrix}
    for label, *expected in zip(labels, *figures, strict=True):
        found = [report["classes"][label][name] for name in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx(expected, abs=1e-9)


@given(PAIRS, st.data())
@settings(deadline=None)
def test_seq2seq_equals_sacrebleu_and_plain_counting(rows, data):
    report = measure("seq2seq", rows, data.draw)
    answers = Answers.normalized(*zip(*rows, strict=True))
    right = sum(t == p for t, p in zip(answers.targets, answers.predictions, strict=True))
    errors = sum(map(edit_distance, answers.targets, answers.predictions))
    assert report["examples"] == len(rows)
    assert report["metrics"] == pytest.approx(
        {
            "exact_match": right / len(rows),
            "character_error_rate": errors / max(sum(map(len, answers.targets)), 1),
            "bleu": sacrebleu.corpus_bleu(answers.predictions, [answers.targets]).score,
        },
        abs=1e-9,
    )


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


@given(st.dictionaries(st.integers(0, 50), st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=30))
def test_length_buckets_partition_the_examples(counts):
    counts = {length: (examples, min(right, examples)) for length, (examples, right) in counts.items()}
    buckets = length_buckets(counts, buckets=4)
    assert len(buckets) <= 4
    assert sum(bucket["examples"] for bucket in buckets) == sum(examples for examples, _ in counts.values())
    bounds = [bound for bucket in buckets for bound in (bucket["from"], bucket["to"])]
    assert bounds == sorted(bounds)
    for bucket in buckets:
        inside = [n for length, n in counts.items() if bucket["from"] <= length <= bucket["to"]]
        examples, right = map(sum, zip(*inside, strict=True))
        assert (bucket["examples"], bucket["exact_match"]) == (examples, right / examples)


def test_length_buckets_hold_about_as_many_examples_each():
    buckets = length_buckets(dict.fromkeys(range(40), (10, 10)), buckets=4)
    assert [(bucket["from"], bucket["to"]) for bucket in buckets] == [(0, 9), (10, 19), (20, 29), (30, 39)]


def test_texts_are_compared_in_one_unicode_form():
    answers = Answers.normalized(["x"], ["caf\u00e9"], ["cafe\u0301"])
    assert answers.correct == [True]


def test_only_wanted_metrics_are_reported():
    rows = [("x", "a", "a"), ("yy", "b", "a")]
    answers = Answers.normalized(*zip(*rows, strict=True))
    names = ["exact_match"]
    reports = [
        c.extract_output(c.add_input(c.create_accumulator(), answers)) for c in combiners("seq2seq", names)
    ]
    assert merge_reports(reports, names)["metrics"] == {"exact_match": 0.5}
    assert len(reports) == 1


def test_empty_targets_give_a_finite_error_rate():
    (rate,) = (c for c in combiners("seq2seq", ["character_error_rate"]) if "Error" in type(c).__name__)
    accumulator = rate.add_input(rate.create_accumulator(), Answers(["x"], [""], ["abc"]))
    assert rate.extract_output(accumulator) == {"metrics": {"character_error_rate": 3.0}}


def test_a_merge_leaves_other_accumulators_as_they_were():
    (confusion,) = combiners("classification", ["accuracy"])
    one, other = Counter({("a", "a"): 1}), Counter({("a", "b"): 2})
    assert confusion.merge_accumulators([one, other]) == {("a", "a"): 1, ("a", "b"): 2}
    assert (one, other) == ({("a", "a"): 1}, {("a", "b"): 2})
