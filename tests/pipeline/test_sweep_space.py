"""Draws and grids: which settings a sweep tries."""

import math
import subprocess
import sys
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.sweep import Range, SweepConfig
from pipeline.sweep.draws import settings_of, takes_whole_numbers
from pipeline.sweep.space import points, value_at

DATA = {
    "name": "tiny",
    "task": "classification",
    "model": {"encoder": {"type": "gru", "units": 8}, "dropout": 0.1},
    "train": {"optimizer": {"type": "adam"}},
}
LAST = math.nextafter(1.0, 0.0)  # the largest position
searches = st.sampled_from(["random", "sobol"])
positions = st.floats(0, LAST)
quick = settings(max_examples=60, deadline=None)


@quick
@given(searches, st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 6))
def test_a_draw_depends_on_the_seed_and_its_number_alone(search, seed, count, more, dimensions):
    first = points(search, seed, count, dimensions)
    assert len(first) == count
    assert points(search, seed, count + more, dimensions)[:count] == first
    assert all(0 <= position < 1 for point in first for position in point)
    assert all(len(point) == dimensions for point in first)


@pytest.mark.parametrize("search", ["random", "sobol"])
def test_other_seeds_draw_others(search):
    assert points(search, 1, 4, 2) != points(search, 2, 4, 2)


def test_sobol_points_cover_every_part_of_a_range():
    """Any 2^k points have one in every one of 2^k equal parts, in every dimension; random ones do not."""
    for axis in zip(*points("sobol", 7, 64, 3), strict=True):
        assert sorted(int(position * 64) for position in axis) == list(range(64))
    random = [int(position * 64) for (position,) in points("random", 7, 64, 1)]
    assert len(set(random)) < 64


bounds = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).filter(lambda pair: pair[0] < pair[1])


@quick
@given(st.sampled_from(["uniform", "log_uniform"]), bounds, positions)
def test_numbers_are_within_their_bounds_and_short(kind, pair, position):
    low, high = pair
    drawn = value_at(Range(**{kind: [low, high]}), position, whole=False)
    assert low <= drawn <= high
    assert drawn in (low, high) or drawn == float(f"{drawn:.4g}")


whole_bounds = st.tuples(st.integers(1, 5000), st.integers(1, 5000)).filter(lambda pair: pair[0] < pair[1])


@quick
@given(st.sampled_from(["uniform", "log_uniform", "integers"]), whole_bounds, positions)
def test_whole_numbers_are_whole_and_reach_both_bounds(kind, pair, position):
    values = Range(**{kind: list(pair)})
    drawn = value_at(values, position, whole=True)
    assert isinstance(drawn, int)
    assert pair[0] <= drawn <= pair[1]
    assert value_at(values, 0.0, whole=True) == pair[0]
    assert value_at(values, LAST, whole=True) == pair[1]


def test_ranges_are_even_in_their_own_measure():
    at = [index / 1000 for index in range(1000)]
    assert value_at(Range(uniform=[0, 10]), 0.5, whole=False) == 5.0
    assert value_at(Range(log_uniform=[0.01, 100]), 0.5, whole=False) == 1.0
    whole = [value_at(Range(integers=[3, 6]), position, whole=False) for position in at]
    assert [whole.count(number) for number in (3, 4, 5, 6)] == [250] * 4
    scaled = [value_at(Range(log_uniform=[1, 15]), position, whole=True) for position in at]
    assert [sum(low <= number < 2 * low for number in scaled) for low in (1, 2, 4, 8)] == pytest.approx(
        [250] * 4, abs=1
    )


@quick
@given(st.lists(st.integers(), min_size=1, max_size=9, unique=True), positions)
def test_every_value_of_a_list_has_the_same_part(values, position):
    assert value_at(values, position, whole=False) == values[int(position * len(values))]


@quick
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_grid_has_all_combinations_in_order(lengths):
    over = {f"model.key{place}": list(range(length)) for place, length in enumerate(lengths)}
    tried = settings_of(SweepConfig(over=over, search="grid"), DATA)
    assert [tuple(each.values()) for each in tried] == list(product(*map(range, lengths)))
    assert all(list(each) == list(over) for each in tried)


def test_whether_a_number_is_whole_follows_from_its_key():
    assert takes_whole_numbers("model.encoder.units", DATA)
    assert takes_whole_numbers("train.epochs", DATA)
    assert not takes_whole_numbers("model.dropout", DATA)
    assert not takes_whole_numbers("train.optimizer.learning_rate", DATA)
    assert not takes_whole_numbers("model.encoder.type", DATA)


def test_kinds_of_values_together():
    encoders = [{"type": "gru", "units": 8}, {"type": "lstm", "units": 4, "bidirectional": True}]
    over = {
        "model.encoder": encoders,
        "model.embedding_size": Range(log_uniform=[8, 64]),
        "model.dropout": Range(uniform=[0, 0.5]),
    }
    tried = settings_of(SweepConfig(over=over, search="sobol", trials=32), DATA)
    assert [each["model.encoder"] for each in tried].count(encoders[0]) == 16
    assert {type(each["model.embedding_size"]) for each in tried} == {int}
    assert {type(each["model.dropout"]) for each in tried} == {float}
    assert all(list(each) == list(over) for each in tried)


def test_the_type_that_is_drawn_decides_whether_a_number_is_whole():
    over = {
        "train.learning_rate_schedule.type": ["cosine", "plateau"],
        "train.learning_rate_schedule.warmup_steps": Range(uniform=[1, 100]),
    }
    tried = settings_of(SweepConfig(over=over, search="random", trials=8), DATA)
    assert {type(each["train.learning_rate_schedule.warmup_steps"]) for each in tried} == {int}


def test_a_grid_needs_no_scipy():
    code = (
        "import sys\nfrom pipeline.config.sweep import SweepConfig\n"
        "from pipeline.sweep.draws import settings_of\n"
        "settings_of(SweepConfig(over={'model.dropout': [0.1, 0.2]}, search='grid'), {})\n"
        "assert not {'scipy', 'numpy', 'tensorflow', 'apache_beam'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
