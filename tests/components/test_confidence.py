"""Temperature scaling, the sample it is fitted to, and coverage against accuracy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from components.evaluate.answers import Answers
from components.evaluate.calibrate import Calibration
from components.evaluate.confidence import confidence_report
from components.evaluate.coverage import CoverageCurve, Selection
from components.evaluate.measure import Measure
from components.evaluate.sample import Sample
from components.evaluate.temperature import Temperature, fit_temperature, uncalibrated_scores
from components.evaluate.told import told


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def drawn(examples, classes, seed=3):
    """Logits, and labels drawn from the probabilities that they say."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (examples, classes))
    cumulated = softmax(logits).cumsum(axis=1)
    return logits, (random.random((examples, 1)) > cumulated).sum(axis=1).clip(max=classes - 1)


@pytest.mark.parametrize(("classes", "factor"), [(2, 1.0), (5, 2.5), (3, 0.4)])
def test_the_temperature_is_the_best_one(classes, factor):
    logits, labels = drawn(4000, classes)
    fitted = fit_temperature((factor * logits).astype(np.float32), labels)

    def nll(temperature):
        probabilities = softmax(factor * logits / temperature)
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()

    direct = minimize_scalar(nll, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8})
    assert fitted.value == pytest.approx(direct.x, rel=1e-4)
    assert fitted.value == pytest.approx(factor, rel=0.1)
    assert (fitted.nll_before, fitted.nll_after) == pytest.approx((nll(1.0), direct.fun))
    assert fitted.nll_after <= fitted.nll_before
    assert (fitted.examples, fitted.problem) == (4000, "")


def test_scaled_logits_give_their_scale_again_and_logarithms_do_as_well():
    logits, labels = drawn(500, 4)
    base = fit_temperature(logits, labels).value
    assert fit_temperature(7 * logits, labels).value == pytest.approx(7 * base, rel=1e-4)
    assert fit_temperature(np.log(softmax(logits)), labels).value == pytest.approx(base, rel=1e-4)


@pytest.mark.parametrize(
    ("logits", "labels", "problem"),
    [
        ([[1.0, 0.0], [0.0, 2.0]], [0, 1], "every answer is right"),
        ([[1.0, 0.0], [0.0, 2.0]], [1, 0], "no better than equal ones"),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [0, 1, 1], "every answer is right"),
    ],
)
def test_without_a_best_temperature_it_stays_1(logits, labels, problem):
    fitted = fit_temperature(np.array(logits), np.array(labels))
    assert fitted.value == 1
    assert fitted.nll_after == fitted.nll_before
    assert problem in fitted.problem


def test_scores_before_the_temperature_follow_from_those_after_it():
    logits, _ = drawn(200, 6)
    for temperature in (0.3, 1.7, 4.0):
        after = softmax(logits / temperature).astype(np.float32)
        before = uncalibrated_scores(after, temperature)
        assert before.dtype == np.float32
        np.testing.assert_allclose(before, softmax(logits).max(axis=1), rtol=2e-5)


def rows_of(numbers):
    rows = np.zeros(len(numbers), [("number", "i8"), ("score", "f4"), ("correct", "?")])
    rows["number"] = numbers
    rows["score"] = np.asarray(numbers) % 97
    return rows


@pytest.mark.parametrize("most", [13 * 1000, 13 * 60])
def test_a_sample_is_the_same_however_rows_come_together(most):
    numbers = np.random.default_rng(1).permutation(500)
    sample, samples = Sample(most), []
    for parts in (1, 7, 100):
        accumulators = []
        for part in np.array_split(numbers, parts):
            accumulator = sample.create_accumulator()
            for piece in np.array_split(part, 3):
                accumulator = sample.add_input(accumulator, rows_of(piece))
                assert sum(rows.nbytes for rows in accumulator) <= 2 * most
            accumulators.append(accumulator)
        samples.append(sample.extract_output(sample.merge_accumulators(accumulators)))
    for other in samples[1:]:
        np.testing.assert_array_equal(other, samples[0])
    kept = samples[0]["number"]
    assert len(kept) == min(500, most // 13)
    assert np.all(np.diff(kept) > 0)
    assert abs(kept.mean() - 250) < 60, "a sample of all, not of the first ones"
    assert sample.extract_output([]) is None


SCORES = st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9, 1.0]), st.booleans()), min_size=1)


def curve_of(answers):
    scores, correct = zip(*answers, strict=True)
    return CoverageCurve(np.array(scores, np.float32), np.array(correct))


@settings(deadline=None)
@given(SCORES, st.floats(0.05, 1.0))
def test_the_curve_counts_what_a_threshold_selects(answers, target):
    curve = curve_of(answers)
    answers = [(float(np.float32(score)), right) for score, right in answers]
    for threshold in (0.0, 0.2, 0.5, 0.9, 1.1):
        selected = [right for score, right in answers if score >= threshold]
        assert curve.at(threshold) == Selection(threshold, len(selected), sum(selected), len(answers))
    assert np.all(np.diff(curve.answered) > 0)
    assert np.all(np.diff(curve.thresholds) < 0)
    assert curve.answered[-1] == len(answers)
    rows = curve.rows()
    assert [row["coverage"] for row in rows] == sorted({row["coverage"] for row in rows}, reverse=True)
    assert (rows[0]["coverage"], rows[0]["answered"]) == (1, len(answers))
    reference = np.mean(
        [np.mean([not right for other, right in answers if other >= score]) for score, _ in answers]
    )
    assert curve.aurc() == pytest.approx(reference, abs=1e-12)
    chosen = curve.reaching(target)
    reached = [
        least
        for least in sorted({score for score, _ in answers})
        if np.mean([right for score, right in answers if score >= least]) >= target - 1e-12
    ]
    if not reached:
        assert chosen is None
    else:
        assert chosen == curve.at(chosen.threshold)
        assert chosen.accuracy >= target - 1e-9
        assert chosen.answered == sum(score >= reached[0] for score, _ in answers)


def test_a_threshold_is_a_short_decimal_between_two_scores():
    curve = curve_of([(0.99123, True), (0.98, True), (0.83456, True), (0.41, False)])
    assert curve.reaching(1.0).threshold == 0.83
    assert curve_of([(0.83459, True), (0.83456, False)]).reaching(1.0).threshold == 0.83459
    assert curve_of([(0.3, False)]).reaching(0.5) is None


def test_scores_that_are_no_numbers_are_never_answered():
    curve = curve_of([(np.nan, True), (0.5, True)])
    assert curve.at(0.0) == Selection(0.0, 1, 1, 2)
    assert curve.covering(1.0) is None
    empty = curve_of([(np.nan, True)])
    assert (empty.rows(), empty.points(), empty.aurc(), empty.reaching(0.5)) == ([], [], None, None)


def scored(answers):
    return np.array(
        [(number, score, right) for number, (score, right) in enumerate(answers)],
        [("number", "i8"), ("score", "f4"), ("correct", "?")],
    )


TEST = scored([(0.95, True), (0.9, False), (0.7, True), (0.2, False)])


def test_a_threshold_is_chosen_on_validation_and_measured_on_test():
    chosen = curve_of([(0.9, True), (0.8, True), (0.5, False)]).reaching(1.0)
    fitted = Temperature(2.0, 3, 0.9, 0.7)
    report = confidence_report(TEST, 1.0, [], Calibration(fitted, chosen, 3))
    threshold = report["threshold"]
    assert threshold["on_validation"]
    assert (threshold["chosen"]["threshold"], threshold["chosen"]["accuracy"]) == (0.8, 1.0)
    assert threshold["evaluated"]["accuracy"] == 0.5
    assert threshold["evaluated"]["coverage"] == 0.5
    low, high = threshold["evaluated"]["interval"]
    assert low == pytest.approx(0.0945, abs=1e-3)  # Wilson's, of 1 of 2
    assert high == pytest.approx(0.9055, abs=1e-3)
    first, second = told(report, "test")
    assert first == (
        "temperature 2, fitted to 3 validation examples: their negative log likelihood 0.9000 -> 0.7000"
    )
    assert second.startswith("score >= 0.8: chosen on validation for accuracy 1 (accuracy 1.0000 (")
    assert second.endswith("; on test accuracy 0.5000 (0.0945 to 0.9055) on 50% of the examples (2)")


def test_a_model_brings_the_threshold_of_its_run():
    chosen = curve_of([(0.9, True), (0.8, True), (0.5, False)]).reaching(1.0)
    report = {"confidence": confidence_report(TEST, 1.0, [], Calibration(None, chosen, 3))}
    assert Selection.noted(report, 1.0) == Selection(0.8, 2, 2, 3)
    assert Selection.noted(report, 1.0) == chosen
    assert Selection.noted(report, 0.9) is None  # which is another question
    assert Selection.noted(report, None) is None
    assert Selection.noted({}, 1.0) is None
    assert Selection.noted({"confidence": confidence_report(TEST, 0.6, [])}, 0.6) is None  # chosen on test
    none_reaches_it = confidence_report(TEST, 0.6, [], Calibration(None, None, 40))
    assert Selection.noted({"confidence": none_reaches_it}, 0.6) is None


def test_without_a_validation_split_it_is_said_that_the_threshold_is_chosen_on_test():
    report = confidence_report(TEST, 0.6, [])
    assert not report["threshold"]["on_validation"]
    (line,) = told(report, "test")
    assert line.startswith("score >= 0.69: chosen on test for accuracy 0.6, the same examples that it is")
    (line,) = told(confidence_report(scored([(0.5, False)]), 0.6, []), "test")
    assert line == "accuracy 0.6: no threshold on the score reaches it on 1 test examples"
    (line,) = told(confidence_report(TEST, 0.6, [], Calibration(None, None, 40)), "test")
    assert line == "accuracy 0.6: no threshold on the score reaches it on 40 validation examples"


def test_the_calibration_error_by_hand():
    answers = Answers.of(
        ["a"] * 4,
        ["x", "x", "y", "x"],
        ["x"] * 4,
        scores=np.array([0.95, 0.95, 0.95, 0.55], np.float32),
    )
    measure = Measure(["calibration_error"], 50, confusion=True)
    report = measure.extract_output(measure.add_input(measure.create_accumulator(), answers))
    # Two bins: three examples of score .95 of which 2/3 are right, and one of .55 that is right.
    assert report["metrics"]["calibration_error"] == pytest.approx((3 * (0.95 - 2 / 3) + 0.45) / 4)
    assert [row["examples"] for row in report["calibration"]] == [1, 3]
