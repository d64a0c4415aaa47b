"""The score of a sweep's settings against every swept key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from markupsafe import Markup

from components.evaluate.metrics import title
from components.train.monitor import smaller_is_better
from pipeline.report.svg import Chart, Scale, element
from pipeline.report.sweep import SweepFacts
from pipeline.report.sweep_curves import limits
from pipeline.run.trials import STOPPED
from pipeline.sweep.draws import in_word, in_words
from pipeline.sweep.statistics import interval_over_seeds

_LISTED = 12  # values of a key that have a row in its table
_WIDE = 20  # so many times the smallest value is the largest one where an axis is logarithmic
_WIDTH = 360
_TICKS = 6  # values that an axis is marked with
_APART = 30.0  # of two marks
_LETTERS = 46  # of a value above its strip


@dataclass(frozen=True)
class Point:
    """A setting in a chart.

    Args:
        words: what it is called.
        value: of the swept key.
        mean: of its scores.
        interval: over seeds, with 95 % confidence; None with fewer than two.
        scores: of its seeds.
        style: picked, on (it trained on after the first comparison) or out.
    """

    words: str
    value: Any
    mean: float
    interval: tuple[float, float] | None
    scores: Sequence[float]
    style: str


@dataclass(frozen=True)
class Row:
    """A value of a swept key.

    Args:
        value: for people.
        settings: how many have it, and a score.
        mean: of their means.
        interval: of that, over settings; of a single setting over its seeds. None with fewer than two.
        over_seeds: whether it is of a single setting.
        points: its settings.
    """

    value: str
    settings: int
    mean: float
    interval: tuple[float, float] | None
    over_seeds: bool
    points: Sequence[Point]


@dataclass(frozen=True)
class ScoreBySetting:
    """A swept key.

    Args:
        key: its path.
        chart: the score against it.
        rows: its values, if they are few.
    """

    key: str
    chart: Markup
    rows: Sequence[Row]


def scores_by_setting(sweep: SweepFacts) -> list[ScoreBySetting]:
    """Draws the scores after the first rung, where all trials are compared, against every swept key.

    Args:
        sweep: as far as it came; keys that have one value only are left out.
    """
    charts = []
    for number, key in enumerate(sweep.over, start=1):
        points = _points(sweep, key)
        by_value: dict[str, list[Point]] = {}
        for point in points:
            by_value.setdefault(json.dumps(point.value, sort_keys=True), []).append(point)
        if len(by_value) < 2:
            continue
        rows = [_row(own) for own in by_value.values()]
        if all(_is_number(point.value) for point in points):
            rows.sort(key=lambda row: row.points[0].value)
            chart = _numeric(sweep, f"by-setting-{number}", key, points)
        else:
            chart = _strips(sweep, f"by-setting-{number}", key, rows)
        charts.append(ScoreBySetting(key, chart, rows if len(rows) <= _LISTED else []))
    return charts


def _points(sweep: SweepFacts, key: str) -> list[Point]:
    points = []
    for setting in sweep.settings:
        first = setting.trials[0]
        values = [score.value for state in setting.trials if (score := sweep.first.get(state.trial.id))]
        scores = [value for value in values if value is not None]
        if scores:
            out = first.state == STOPPED and first.planned == sweep.stops[0]
            style = "picked" if sweep.is_picked(setting) else "out" if out else "on"
            name = f"{'setting' if sweep.repeat > 1 else 'trial'} {first.trial.group}"
            words = f"{name} ({in_words(first.trial.told)}): {sweep.value(fmean(scores))}"
            interval = interval_over_seeds(scores)
            points.append(Point(words, first.trial.told[key], fmean(scores), interval, scores, style))
    return points


def _row(points: Sequence[Point]) -> Row:
    means = [point.mean for point in points]
    alone = len(points) == 1
    interval = points[0].interval if alone else interval_over_seeds(means)
    return Row(in_word(points[0].value), len(points), fmean(means), interval, alone, points)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_logarithmic(values: Any, points: Sequence[Point]) -> bool:
    """Whether a key's values are spread over orders of magnitude."""
    if isinstance(values, Mapping):
        return values.get("log_uniform") is not None
    least, most = (f(point.value for point in points) for f in (min, max))
    return bool(least > 0 and most >= _WIDE * least)


def _chart(sweep: SweepFacts, identity: str, key: str, points: Sequence[Point], height: float) -> Chart:
    best = (min if smaller_is_better(sweep.monitor) else max)(points, key=lambda point: point.mean)
    description = f"{len(points)} settings. The best one is {best.words}."
    name = f"{title(sweep.monitor)} against {key}"
    return Chart(identity, name, description, _WIDTH, height, (64, 24, 18, 46))


def _range(sweep: SweepFacts, points: Sequence[Point]) -> tuple[float, float]:
    """What an axis of scores holds: all usual ones, and intervals that are not far wider than all of them."""
    means = [point.mean for point in points]
    low, high = limits(means, [], smaller_is_better(sweep.monitor))
    ends = [end for point in points if low <= point.mean <= high for end in point.interval or ()]
    near = [end for end in ends if low - (high - low) <= end <= high + (high - low)]
    return min([low, *near]), max([high, *near])


def _numeric(sweep: SweepFacts, identity: str, key: str, points: Sequence[Point]) -> Markup:
    """Points, with the interval over seeds where there is one."""
    chart = _chart(sweep, identity, key, points, 260)
    left, top, right, bottom = chart.box
    values = [float(point.value) for point in points]
    logarithmic = _is_logarithmic(sweep.over[key], points)
    across = Scale.over(values, left, right, logarithmic)
    up = Scale.over(_range(sweep, points), bottom, top)
    name = f"{key}{' (logarithmic)' if logarithmic else ''}"
    chart.horizontal_axis(across, name, _ticks(across, values))
    chart.vertical_axis(up)
    chart.text(title(sweep.monitor), left, 14, "start", class_="axis")
    clipped = _clip(chart)
    for point in sorted(points, key=lambda point: ["out", "on", "picked"].index(point.style)):
        x = across(float(point.value))
        bar = ""
        if point.interval:
            low, high = (up(end) for end in point.interval)
            bar = element("line", x1=x, x2=x, y1=low, y2=high, class_="interval", clip_path=clipped)
        y = min(max(up(point.mean), top), bottom)
        chart.add("g", element("title", point.words) + bar + _mark(x, y, point.style))
    return chart.markup()


def _ticks(scale: Scale, values: Sequence[float]) -> list[float]:
    """The values themselves, if they are few and not too near to each other."""
    own = sorted({*values})
    places = [scale(value) for value in own]
    if len(own) <= _TICKS and all(after - before >= _APART for before, after in pairwise(places)):
        return own
    return scale.ticks(4, whole=all(value.is_integer() for value in values))


def _strips(sweep: SweepFacts, identity: str, key: str, rows: Sequence[Row]) -> Markup:
    """A strip for every value: its trials, and the mean of its settings with an interval."""
    points = [point for row in rows for point in row.points]
    chart = _chart(sweep, identity, key, points, 74 + 44 * len(rows))
    chart.margins = (18, 22, 18, 46)
    left, top, right, _ = chart.box
    across = Scale.over(_range(sweep, points), left, right)
    chart.horizontal_axis(across, title(sweep.monitor), across.ticks(4))
    chart.text(key, left, 12, "start", class_="axis")
    clipped = _clip(chart)
    for number, row in enumerate(rows):
        middle = top + 44 * number + 30
        name = row.value if len(row.value) <= _LETTERS else f"{row.value[: _LETTERS - 1]}…"
        chart.text(name, left, middle - 12, "start")
        for point in sorted(row.points, key=lambda point: ["out", "on", "picked"].index(point.style)):
            marks = [
                _mark(min(max(across(score), left), right), middle, point.style) for score in point.scores
            ]
            chart.add("g", element("title", point.words) + Markup("").join(marks))
        if row.interval:
            x1, x2 = (across(end) for end in row.interval)
            line = {"x1": x1, "x2": x2, "y1": middle + 8, "y2": middle + 8}
            chart.add("line", class_="interval", clip_path=clipped, **line)
        x = min(max(across(row.mean), left), right)
        chart.add(
            "line",
            element("title", f"mean {sweep.value(row.mean)}"),
            class_="mean",
            x1=x,
            x2=x,
            y1=middle + 3,
            y2=middle + 13,
        )
    return chart.markup()


def _clip(chart: Chart) -> str:
    left, top, right, bottom = chart.box
    inside = element("rect", x=left, y=top, width=right - left, height=bottom - top)
    chart.add("clipPath", inside, id=f"{chart.id}-plot")
    return f"url(#{chart.id}-plot)"


def _mark(x: float, y: float, style: str) -> Markup:
    """A diamond for the pick, a filled circle for what trained on, an open one for the others."""
    if style == "picked":
        return element("path", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z", class_="mark picked")
    return element("circle", cx=x, cy=y, r=3.5, class_=f"mark {style}")
