"""The metrics equal the libraries', however the examples are cut into batches and shards."""

import unicodedata
import warnings

import numpy as np
import pytest
import sacrebleu
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from components.evaluate.answers import Answers
from components.evaluate.measure import Measure
from components.evaluate.metrics import METRICS, metric_names
from components.evaluate.predict import answer, ranked_labels

ALPHABET = "ab cé\u0301日."
TEXTS = st.text(ALPHABET, max_size=12)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=40)
SCORES = st.floats(0, 1, width=32)
LABEL_PAIRS = st.lists(
    st.tuples(TEXTS, st.sampled_from("xyzü"), st.sampled_from("wxyü"), SCORES), min_size=1, max_size=60
)
TWO_LABELS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.7]) | SCORES), min_size=1, max_size=60
)


def classified(rows, **others):
    texts, targets, predictions, scores = zip(*rows, strict=True)
    scores = np.asarray(scores, np.float32)
    return Answers.of(texts, targets, predictions, scores=scores, **others)


def measure(answers, names, draw, confusion=False, resamples=3):
    """Adds answers in random batches to random accumulators, and merges these in a random order."""
    combiner = Measure(names, resamples, confusion)
    accumulators = [combiner.create_accumulator() for _ in range(draw(st.integers(1, 4)))]
    start, total = 0, len(answers.inputs)
    while start < total:
        end = min(start + draw(st.integers(1, total)), total)
        place = draw(st.integers(0, len(accumulators) - 1))
        batch = answers.select(range(start, end))
        accumulators[place] = combiner.add_input(accumulators[place], batch)
        start = end
    accumulators = draw(st.permutations(accumulators))
    some = draw(st.integers(1, len(accumulators)))
    merged = combiner.merge_accumulators(accumulators[:some])
    return combiner.extract_output(combiner.merge_accumulators([merged, *accumulators[some:]]))


@given(LABEL_PAIRS, st.data())
@settings(deadline=None)
def test_classification_equals_scikit_learn(rows, data):
    names = ["accuracy", "macro_f1", "micro_f1"]
    report = measure(classified(rows), names, data.draw, confusion=True)
    _, targets, predictions, _ = zip(*rows, strict=True)
    labels = sorted({*targets, *predictions})
    assert report["examples"] == len(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one label alone is a small problem
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(targets, predictions),
            "macro_f1": sklearn_metrics.f1_score(targets, predictions, average="macro", zero_division=0),
            "micro_f1": sklearn_metrics.f1_score(targets, predictions, average="micro", zero_division=0),
        }
        matrix = sklearn_metrics.confusion_matrix(targets, predictions).tolist()
        figures = sklearn_metrics.precision_recall_fscore_support(
            targets, predictions, labels=labels, zero_division=0
        )
    assert report["metrics"] == pytest.approx(expected, abs=1e-9)
    assert list(report["metrics"]) == names
    assert report["confusion"] == {"labels": labels, "counts": matrix}
    for label, *expected in zip(labels, *figures, strict=True):
        found = [report["classes"][label][name] for name in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx(expected, abs=1e-9)


@given(TWO_LABELS, st.data())
@settings(deadline=None)
def test_the_area_under_the_curve_equals_scikit_learn(rows, data):
    positives, probabilities = (np.asarray(column) for column in zip(*rows, strict=True))
    texts = ["x"] * len(rows)
    answers = Answers.of(
        texts, texts, texts, probabilities=probabilities.astype(np.float32), positives=positives
    )
    report = measure(answers, ["roc_auc"], data.draw)
    if positives.all() or not positives.any():
        assert report["metrics"] == {}
    else:
        expected = sklearn_metrics.roc_auc_score(positives, probabilities.astype(np.float32))
        assert report["metrics"]["roc_auc"] == pytest.approx(expected, abs=1e-9)


@given(LABEL_PAIRS, st.data())
@settings(deadline=None)
def test_the_calibration_error_equals_its_definition(rows, data):
    answers = classified(rows)
    report = measure(answers, ["calibration_error"], data.draw, confusion=True)
    scores, correct = answers.scores.astype(float), np.asarray(answers.correct)
    expected = 0.0
    for place in range(15):
        low, high = place / 15, (place + 1) / 15
        inside = (scores > low) & (scores <= high) if place else scores <= high
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - scores[inside].mean())
    assert report["metrics"]["calibration_error"] == pytest.approx(expected, abs=1e-9)
    assert sum(row["examples"] for row in report["calibration"]) == len(rows)
    assert all(row["mean_score"] <= row["to"] + 1e-9 for row in report["calibration"])


@given(PAIRS, st.data())
@settings(deadline=None)
def test_seq2seq_equals_sacrebleu_and_plain_counting(rows, data):
    answers = Answers.of(*zip(*rows, strict=True))
    report = measure(answers, metric_names("seq2seq"), data.draw)
    targets, predictions = answers.expected, answers.predicted
    words = [[text.split() for text in texts] for texts in (targets, predictions)]
    assert report["examples"] == len(rows)
    assert report["metrics"] == pytest.approx(
        {
            "exact_match": np.mean([t == p for t, p in zip(targets, predictions, strict=True)]),
            "character_error_rate": sum(map(edit_distance, targets, predictions))
            / max(sum(map(len, targets)), 1),
            "word_error_rate": sum(map(edit_distance, *words)) / max(sum(map(len, words[0])), 1),
            "bleu": sacrebleu.corpus_bleu(predictions, [targets]).score,
            "chrf": sacrebleu.corpus_chrf(predictions, [targets]).score,
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


@given(LABEL_PAIRS, st.data())
@settings(deadline=None, max_examples=30)
def test_resamples_do_not_depend_on_the_shards(rows, data):
    """Bit for bit, with every metric: what is summed are whole numbers."""
    answers = classified(rows)
    names = list(METRICS)
    one, other = (measure(answers, names, data.draw, resamples=70) for _ in range(2))
    assert one["metrics"] == other["metrics"]
    assert one["intervals"] == other["intervals"]
    for name, resampled in one["resampled"].items():
        np.testing.assert_array_equal(resampled, other["resampled"][name])


def test_a_resample_is_the_metric_of_repeated_examples():
    from components.evaluate.bootstrap import counts

    draw = np.random.default_rng(1)
    texts = ["".join(draw.choice(list("ab c"), 6)) for _ in range(40)]
    answers = Answers.of(texts, texts, texts[20:] + texts[:20])
    labels = Answers.of(
        texts,
        [text[0] for text in texts],
        [text[1] for text in texts],
        scores=draw.random(40).astype(np.float32),
        probabilities=draw.random(40).astype(np.float32),
        positives=draw.random(40) < 0.5,
    )
    for batch, names in ((answers, metric_names("seq2seq")), (labels, metric_names("classification"))):
        whole, repeated = Measure(names, 5), Measure(names, 0)
        report = whole.extract_output(whole.add_input(whole.create_accumulator(), batch))
        assert list(report["resampled"]) == list(names)
        for resample, row in enumerate(counts(batch.numbers, 5)[1:]):
            drawn = batch.select(np.repeat(np.arange(40), row.astype(int)))
            again = repeated.extract_output(repeated.add_input(repeated.create_accumulator(), drawn))
            found = {name: values[resample] for name, values in report["resampled"].items()}
            assert found == pytest.approx(again["metrics"], abs=1e-9)


def test_texts_are_compared_in_one_unicode_form():
    answers = Answers.of(["x"], ["caf\u00e9"], ["cafe\u0301"])
    assert answers.correct == [True]


def test_empty_targets_give_a_finite_error_rate():
    combiner = Measure(["character_error_rate"], 0)
    answers = Answers.of(["x"], [""], ["abc"])
    report = combiner.extract_output(combiner.add_input(combiner.create_accumulator(), answers))
    assert report["metrics"] == {"character_error_rate": 3.0}
    assert report["intervals"] == {}


def test_no_example_has_no_metric():
    combiner = Measure(metric_names("seq2seq"), 2)
    report = combiner.extract_output(combiner.create_accumulator())
    assert (report["examples"], report["metrics"]) == (0, {})


def test_a_merge_leaves_other_accumulators_as_they_were():
    combiner = Measure(["accuracy"], 2, confusion=True)
    one, other = (
        combiner.add_input(combiner.create_accumulator(), Answers.of(["x"], ["a"], [label])) for label in "ab"
    )
    first = combiner.extract_output(combiner.merge_accumulators([one, other]))
    again = combiner.extract_output(combiner.merge_accumulators([one, other]))
    assert first["metrics"] == again["metrics"] == {"accuracy": 0.5}
    assert first["confusion"] == again["confusion"] == {"labels": ["a", "b"], "counts": [[1, 1], [0, 0]]}


def test_the_area_under_the_curve_is_left_out_where_a_third_label_is_expected():
    """It is no negative example; in a slice without it, the area is defined."""

    def model(texts):
        probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
        best = probabilities.argmax(axis=1)
        return {
            "prediction": tf.constant(np.array(["größer", "red"])[best]),
            "score": tf.constant(probabilities.max(axis=1)),
            "probabilities": tf.constant(probabilities),
        }

    labels, texts = ranked_labels(["red", "größer"]), ["a", "b", "c", "d"]
    assert labels == ("größer", "red")
    # Written in the form NFD it is the same label.
    two = answer(model, texts, ["größer", "red", unicodedata.normalize("NFD", "größer"), "red"], labels)
    three = answer(model, texts, ["größer", "red", "blue", "red"], labels)
    assert two.positives.tolist() == [0, 1, 0, 1]
    assert three.positives.tolist() == [0, 1, -1, 1]
    combiner = Measure(["accuracy", "roc_auc"], 20)

    def measured(*batches):
        accumulator = combiner.create_accumulator()
        for batch in batches:
            combiner.add_input(accumulator, batch)
        return combiner.extract_output(accumulator)["metrics"]

    assert measured(two)["roc_auc"] == 1.0
    assert measured(three) == {"accuracy": 0.75}
    assert measured(two, three) == {"accuracy": 0.875}
    assert measured(three.select([0, 1, 3]))["roc_auc"] == 1.0
