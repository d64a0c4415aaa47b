import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.distinct import distinct


def clean(name):
    return re.sub(r"[^0-9A-Za-z_]", "_", name)


def test_names_that_stay_different_are_only_cleaned():
    assert distinct(["a/b", "c d"], clean, 50) == {"a/b": "a_b", "c d": "c_d"}


def test_where_cleaning_made_two_equal_those_that_it_changed_get_a_hash():
    found = distinct(["a/b", "a_b", "a b"], clean, 50)
    assert found["a_b"] == "a_b"
    assert re.fullmatch("a_b-[0-9a-f]{8}", found["a/b"])
    assert re.fullmatch("a_b-[0-9a-f]{8}", found["a b"])
    assert len(set(found.values())) == 3
    assert distinct(["a b", "a/b", "a_b"], clean, 50) == found  # in whatever order


@pytest.mark.parametrize("names", [("语言", "来源"), ("Lang", "lang"), ("x" * 60 + "1", "x" * 60 + "2")])
def test_other_alphabets_upper_case_and_length(names):
    found = distinct(names, clean, 50)
    assert len({name.casefold() for name in found.values()}) == 2
    assert all(len(name) <= 50 for name in found.values())


@given(st.lists(st.text(max_size=14), unique=True, max_size=12))
def test_they_are_always_different_and_short_enough(names):
    found = distinct(names, clean, 12)
    assert list(found) == names
    assert len({name.casefold() for name in found.values()}) == len(names)
    assert all(len(name) <= 12 for name in found.values())
