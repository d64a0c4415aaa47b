"""Charts: scales with round marks, labels that do not overlap, and text that is escaped."""

from itertools import pairwise

import pytest

from pipeline.report.svg import Chart, Scale, element, tick_text
from pipeline.report.sweep_curves import limits, spread


def test_a_scale_goes_from_one_end_to_the_other():
    scale = Scale(10, 20, 100, 0)
    assert [scale(value) for value in (10, 15, 20)] == [100, 50, 0]
    scale = Scale(0.01, 100, 0, 40, logarithmic=True)
    assert [scale(value) for value in (0.01, 1, 100)] == pytest.approx([0, 20, 40])


@pytest.mark.parametrize("values", [[3.0], [0.0], [-2.0, 5.0], [1e-9, 2e-9], [1.0, 1e12]])
def test_a_scale_has_room_for_its_values(values):
    scale = Scale.over(values, 0, 100)
    assert all(0 < scale(value) < 100 for value in values)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.31, 0.93, [0.4, 0.6, 0.8]),
        (-7, 12, [-5, 0, 5, 10]),
        (0.0012, 0.0049, [0.002, 0.003, 0.004]),
    ],
)
def test_marks_are_round_numbers(low, high, expected):
    assert Scale(low, high, 0, 1).ticks() == pytest.approx(expected)


def test_marks_of_epochs_are_whole_numbers():
    assert Scale(0.5, 1.5, 0, 1).ticks(whole=True) == [1]
    assert Scale(1, 4, 0, 1).ticks(whole=True) == [1, 2, 3, 4]
    assert Scale(1, 60, 0, 1).ticks(6, whole=True) == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1e-4, 1e-1, [1e-4, 1e-3, 1e-2, 1e-1]), (0.02, 0.5, [0.03, 0.1, 0.3]), (0.2, 0.9, [0.2, 0.4, 0.6, 0.8])],
)
def test_marks_of_a_logarithmic_scale(low, high, expected):
    assert Scale(low, high, 0, 1, logarithmic=True).ticks() == pytest.approx(expected)


def test_few_marks_are_left_of_many_orders_of_magnitude():
    assert 3 <= len(Scale(1e-12, 1e12, 0, 1, logarithmic=True).ticks()) <= 5


def test_labels_keep_their_distance_and_stay_within():
    places = spread([50, 51, 49, 200, 199], 0, 200)
    assert all(after - before >= 18 for before, after in pairwise(sorted(places)))
    assert sorted(range(5), key=places.__getitem__) == [2, 0, 1, 4, 3]
    assert max(places) <= 200
    assert spread([10, 90], 0, 100) == [10, 90]


def test_a_few_far_worse_values_are_left_out():
    values = [0.5 + number / 100 for number in range(100)]
    assert limits(values, [], smaller=True) == (0.5, 1.49)
    assert limits([*values, 1e9], [], smaller=True)[1] < 2
    assert limits([*values, 1e9], [1e9], smaller=True)[1] == 1e9  # what must be within is
    assert limits([*values, -1e9], [], smaller=False)[0] > 0


def test_what_is_no_markup_is_escaped():
    assert element("text", "a < b", x=1.234, class_='a"b') == '<text x="1.2" class="a&#34;b">a &lt; b</text>'
    assert element("g", element("line", x1=0)) == '<g><line x1="0"></line></g>'


def test_a_chart_says_what_it_shows():
    markup = Chart("here", "loss & co", "Falls.", 100, 50, (0, 0, 0, 0)).markup()
    assert '<title id="here-title">loss &amp; co</title><desc id="here-description">Falls.</desc>' in markup
    assert 'aria-labelledby="here-title here-description"' in markup


def test_numbers_on_an_axis_are_short():
    assert [tick_text(value) for value in (0, 0.25, 1e-4, 3e7, 20.0)] == ["0", "0.25", "1e-4", "3e+07", "20"]
