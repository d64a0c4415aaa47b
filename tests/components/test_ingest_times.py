"""Times of many kinds, as numbers in their order."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.times import DATES, NUMBERS, shown_time, to_time


@given(st.datetimes(), st.datetimes())
def test_dates_keep_their_order_however_they_are_written(one, other):
    for spell in (str, datetime.isoformat, lambda when: when, lambda when: f" {when.isoformat()}Z".encode()):
        assert (to_time(spell(one)) < to_time(spell(other))) == (one < other)
        assert to_time(spell(one)) == to_time(one)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_order(one, other):
    for spell in (float, repr, Decimal):
        assert (to_time(spell(one)) < to_time(spell(other))) == (one < other)
        assert to_time(spell(one))[0] == NUMBERS
    assert float(shown_time(to_time(one))) == one


@given(st.datetimes(), st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
def test_offsets_are_taken_into_account(when, offset):
    there = when.replace(tzinfo=timezone(timedelta(minutes=offset // timedelta(minutes=1))))
    assert to_time(there) == to_time(there.isoformat())
    if 2 < when.year < 9998:
        assert to_time(there) == to_time(there.astimezone(timezone.utc).replace(tzinfo=None))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2024-03", "2024-03-01"),
        (date(2024, 3, 12), "2024-03-12"),
        ("2024-03-12 10:00", "2024-03-12T10:00:00"),
        ("2024-03-12T10:00:00,5+0200", "2024-03-12T08:00:00.500000"),
        ("2024-03-12T10:00:00.123456789z", "2024-03-12T10:00:00.123456"),
        ("17e8", "1700000000"),
        (-2.5, "-2.5"),
        ("-0", "0"),
    ],
)
def test_what_a_time_is(value, shown):
    assert shown_time(to_time(value)) == shown


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "soon",
        "12/03/2024",
        "2024-13-01",
        "2024-02-30",
        "2024-03-12T24:00",
        "2024-03-12T10:00+24:00",
        "1_000",
        "nan",
        float("inf"),
        10**400,
        Decimal("sNaN"),
        b"\xff",
        ["2024-03-12"],
        timedelta(1),
    ],
)
def test_what_is_no_time(value):
    assert to_time(value) is None


def test_dates_and_numbers_are_of_different_kinds():
    assert to_time("2024-03-12")[0] == DATES
    assert to_time("20240312")[0] == NUMBERS
