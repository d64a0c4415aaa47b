"""Which trials are better, which go on, and which one is picked."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sweep.ranking import Score, going_on, picked, rank

values = st.one_of(st.none(), st.floats(-100, 100))
groups_of = st.lists(st.lists(values, min_size=1, max_size=4), min_size=1, max_size=12)


def scores_of(groups):
    """Scores by trial, and groups by trial, of lists of values."""
    scores, of = {}, {}
    for number, own in enumerate(groups, start=1):
        for place, value in enumerate(own):
            trial = f"{number}.{place + 1}" if place else str(number)
            scores[trial] = Score(value, "" if value is not None else "killed")
            of[trial] = str(number)
    return scores, of


@given(groups_of, st.sampled_from(["loss", "accuracy"]))
def test_the_ranking_has_every_setting_once_and_failed_ones_last(groups, monitor):
    ranked = rank(*scores_of(groups), monitor)
    assert sorted(each.group for each in ranked) == sorted(str(n + 1) for n in range(len(groups)))
    complete = [each.complete for each in ranked]
    assert complete == sorted(complete, reverse=True)
    means = [each.mean for each in ranked if each.complete]
    assert means == sorted(means, reverse=monitor == "accuracy")
    incomplete = [each.mean is None for each in ranked if not each.complete]
    assert incomplete == sorted(incomplete)


@given(groups_of, st.integers(2, 5))
def test_one_in_so_many_goes_on_and_never_one_that_failed_beside_others(groups, factor):
    ranked = rank(*scores_of(groups), "loss")
    on = going_on(ranked, factor)
    assert len(on) <= max(len(ranked) // factor, 1)
    assert on == [each.group for each in ranked[: len(on)]]
    assert all(each.complete for each in ranked[: len(on)]) or len(on) == 1
    assert bool(on) == any(each.mean is not None for each in ranked)


@given(groups_of, st.sampled_from(["loss", "accuracy"]))
def test_the_pick_is_the_best_trial_of_the_best_setting(groups, monitor):
    scores, of = scores_of(groups)
    ranked = rank(scores, of, monitor)
    trial = picked(ranked, monitor)
    if all(score.value is None for score in scores.values()):
        assert trial == ""
        return
    assert of[trial] == ranked[0].group
    own = [score.value for score in ranked[0].scores.values() if score.value is not None]
    assert scores[trial].value == (min(own) if monitor == "loss" else max(own))


def test_ranked_by_the_mean_over_seeds_and_of_equals_the_first():
    ranked = rank(*scores_of([[0.5, 0.1], [0.2, 0.2], [0.2, 0.2], [None, 0.0]]), "loss")
    assert [each.group for each in ranked] == ["2", "3", "1", "4"]
    assert [each.mean for each in ranked] == pytest.approx([0.2, 0.2, 0.3, 0.0])
    assert picked(ranked, "loss") == "2"
    assert picked(rank(*scores_of([[0.5, 0.9], [0.6, 0.6]]), "accuracy"), "accuracy") == "1.2"


def test_the_score_is_what_is_monitored_on_the_validation_split():
    summary = {"loss": 0.1, "val_loss": 0.2, "val_exact_match": 0.9}
    assert Score.of(summary, "loss") == Score(0.2)
    assert Score.of(summary, "exact_match") == Score(0.9)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_failed(value):
    assert Score.of({"val_loss": value, "loss": 1.0}, "loss") == Score(None, f"loss is {value}")
