from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluate.answers import Answers
from components.evaluate.slices import make_slicing


def sizes(slicing, answers):
    found = {name: len(part.inputs) for name, part in slicing.groups(answers)}
    return {name: found[name] for name in sorted(found, key=slicing.order)}


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_ranges_of_lengths_part_the_examples(lengths):
    texts = ["x" * length for length in lengths]
    slicing = make_slicing("length", Counter(lengths))
    bounds = [bound for pair in slicing.ranges for bound in pair]
    assert bounds == sorted(bounds)
    assert len(slicing.ranges) <= 8
    groups = dict(slicing.groups(Answers.of(texts, texts, texts)))
    assert sorted(len(text) for part in groups.values() for text in part.inputs) == sorted(lengths)
    for name, part in groups.items():
        low, _, high = name.partition("-")
        assert all(int(low) <= len(text) <= int(high or low) for text in part.inputs)


def test_ranges_hold_about_as_many_examples_each():
    slicing = make_slicing("length", Counter(dict.fromkeys(range(80), 10)))
    assert slicing.ranges == tuple((first, first + 9) for first in range(0, 80, 10))


def test_lengths_are_in_their_order():
    texts = ["x" * length for length in (100, 5, 30)]
    slicing = make_slicing("length", Counter(map(len, texts)))
    assert list(sizes(slicing, Answers.of(texts, texts, texts))) == ["5", "30", "100"]


def test_labels_and_columns():
    answers = Answers.of(
        ["a", "b", "c", "d"], ["y", "x", "y", "z"], ["y"] * 4, columns={"topic": ["", "war", "art", "war"]}
    )
    assert sizes(make_slicing("label", Counter(answers.targets)), answers) == {"x": 1, "y": 2, "z": 1}
    topics = make_slicing("topic", Counter(answers.columns["topic"]))
    assert sizes(topics, answers) == {"(empty)": 1, "art": 1, "war": 2}
    parts = dict(topics.groups(answers))
    assert parts["war"].inputs == ["b", "d"]
    assert parts["war"].numbers.tolist() == [1, 3]
    assert parts["war"].columns == {"topic": ["war", "war"]}


def test_values_that_are_called_like_a_group_of_ours_are_groups_of_their_own():
    values = ["(others)", "(empty)", "", "(others)", *(f"{number:02}" for number in range(47)), "zz"]
    texts = ["x"] * len(values)
    slicing = make_slicing("topic", Counter([*values, "(empty)", ""]))
    found = sizes(slicing, Answers.of(texts, texts, texts, columns={"topic": values}))
    assert (found["(others)"], found["(empty)"], found["((empty))"]) == (2, 1, 1)
    assert list(found.items())[-1] == ("((others))", 1)
    assert len(found) == 51


@pytest.mark.parametrize("values", [51, 200])
def test_rare_values_are_one_slice_at_the_end(values):
    topics = [f"{number:03}" for number in range(values)] + ["999"] * 2
    texts = ["x"] * len(topics)
    slicing = make_slicing("topic", Counter(topics))
    found = sizes(slicing, Answers.of(texts, texts, texts, columns={"topic": topics}))
    assert len(found) == 51
    assert list(found.items())[-1] == ("(others)", values - 49)
    assert found["999"] == 2
