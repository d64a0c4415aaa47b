"""The learning curves of a sweep: all of them thin, the best ones named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from components.evaluate.metrics import title
from components.train.monitor import smaller_is_better
from pipeline.report.svg import Chart, Scale, element
from pipeline.report.sweep import Curve, SweepFacts
from pipeline.run.record import TrialRecord
from pipeline.run.trials import FAILED

_NAMED = 5
_USUAL = 0.95  # of the values are usual ones
_FAR = 2  # times as far from the best value as the usual ones
_FALLEN = 3
_DOT = 3.5
_INSIDE = "url(#learning-curves-plot)"
_LINE = 18.0  # height of a label


@dataclass(frozen=True)
class Named:
    """A curve that has a name.

    Args:
        trial: whose curve it is.
        title: of the trial.
        value: where the curve ends.
        swatch: how it is drawn.
    """

    trial: TrialRecord
    title: str
    value: float
    swatch: Markup


@dataclass(frozen=True)
class LearningCurves:
    """All curves.

    Args:
        chart: with all of them.
        named: the best ones, the pick first.
        outside: how many leave the chart on the side where values are worse.
    """

    chart: Markup
    named: Sequence[Named]
    outside: int


def learning_curves(sweep: SweepFacts) -> LearningCurves | None:
    """Draws what is monitored by epoch, of every trial; None if there is none yet.

    Args:
        sweep: as far as it came.
    """
    if not sweep.curves:
        return None
    best = [trial for trial in _best(sweep) if trial.id in sweep.curves][:_NAMED]
    low, high = limits(
        [value for curve in sweep.curves.values() for _, value in curve],
        [value for trial in best for _, value in sweep.curves[trial.id]],
        smaller_is_better(sweep.monitor),
    )
    monitored = f"{title(sweep.monitor)} on {sweep.measured_on}"
    words = "; ".join(
        f"{sweep.title(trial)} ends at {sweep.value(sweep.curves[trial.id][-1][1])}" for trial in best
    )
    chart = Chart(
        "learning-curves",
        f"{monitored} by epoch",
        f"{len(sweep.curves)} learning curves, one for every trial that has trained. {words}.",
        640,
        380,
        (72, 24, 56, 52),
    )
    across, up = _axes(chart, sweep, monitored, low, high)
    names = {trial.id for trial in best}
    others = (_curve(sweep, trial, across, up) for trial in sweep.curves if trial not in names)
    chart.add("g", Markup("").join(others), clip_path=_INSIDE)
    for place, trial in reversed(list(enumerate(best))):
        chart.add("g", _curve(sweep, trial.id, across, up, place), clip_path=_INSIDE)
    ends = [sweep.curves[trial.id][-1] for trial in best]
    _label(chart, [trial.id for trial in best], [(across(epoch), up(value)) for epoch, value in ends])
    named = [
        Named(trial, sweep.title(trial), value, _swatch(place))
        for place, (trial, (_, value)) in enumerate(zip(best, ends, strict=True))
    ]
    outside = sum(
        1 for curve in sweep.curves.values() if any(not up.low <= value <= up.high for _, value in curve)
    )
    return LearningCurves(chart.markup(), named, outside)


def limits(values: Sequence[float], wanted: Sequence[float], smaller: bool) -> tuple[float, float]:
    """Returns the ends of an axis on which a few values that are far worse do not flatten all others.

    Args:
        values: all of them.
        wanted: those that must be within.
        smaller: whether smaller ones are better.
    """
    ordered = sorted(values, reverse=not smaller)  # the best one first
    best = ordered[0]
    usual = abs(ordered[round(_USUAL * (len(ordered) - 1))] - best)
    within = [value for value in ordered if abs(value - best) <= _FAR * usual]
    return min([*within, *wanted]), max([*within, *wanted])


def spread(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Returns places of labels, near those given, that leave a line between any two.

    Args:
        places: in any order.
        top: the least place.
        bottom: the greatest one.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    spaced = list(places)
    least = top
    for place in order:
        spaced[place] = max(spaced[place], least)
        least = spaced[place] + _LINE
    most = bottom
    for place in reversed(order):
        spaced[place] = min(spaced[place], most)
        most = spaced[place] - _LINE
    return spaced


def _best(sweep: SweepFacts) -> list[TrialRecord]:
    """The pick, then the best seed of every other setting in the ranking."""
    better = min if smaller_is_better(sweep.monitor) else max
    trials = [sweep.pick] if sweep.pick else []
    for setting in sweep.settings:
        scores = {state.trial.id: state.score for state in setting.trials if state.score is not None}
        if setting.rank and scores and not sweep.is_picked(setting):
            trials.append(sweep.trials[better(scores, key=scores.__getitem__)].trial)
    return trials


def _axes(chart: Chart, sweep: SweepFacts, monitored: str, low: float, high: float) -> tuple[Scale, Scale]:
    """Draws both axes, and where halving compares trials; returns the scales across and up."""
    left, top, right, bottom = chart.box
    epochs = [epoch for curve in sweep.curves.values() for epoch, _ in curve]
    room = 0.5 if min(epochs) == max(epochs) else 0
    across = Scale(min(epochs) - room, max(epochs) + room, left, right)
    # Where a loss falls to a fraction, what is learned late would not be seen otherwise.
    logarithmic = smaller_is_better(sweep.monitor) and low > 0 and high >= _FALLEN * low
    up = Scale.over([low, high], bottom, top, logarithmic)
    chart.horizontal_axis(across, "epoch", across.ticks(6, whole=True))
    chart.vertical_axis(up)
    kind = " (logarithmic)" if logarithmic else ""
    chart.text(f"{monitored}{kind}", left, top - 10, "start", class_="axis")
    inside = element("rect", x=left - _DOT, y=top, width=right - left + 2 * _DOT, height=bottom - top)
    chart.add("clipPath", inside, id="learning-curves-plot")
    for stop in sweep.stops:
        if across.low <= stop <= across.high:
            line = {"x1": across(stop), "x2": across(stop), "y1": top, "y2": bottom}
            chart.add("line", element("title", f"compared after epoch {stop}"), class_="stop", **line)
    return across, up


def _label(chart: Chart, names: Sequence[str], ends: Sequence[tuple[float, float]]) -> None:
    """Writes names beside the ends of their curves."""
    _, top, _, bottom = chart.box
    for x in dict.fromkeys(x for x, _ in ends):
        there = [place for place, end in enumerate(ends) if end[0] == x]
        heights = spread([min(max(ends[place][1], top), bottom) for place in there], top, bottom)
        for place, height in zip(there, heights, strict=True):
            chart.text(names[place], x + 2 * _DOT, height + 4, "start", class_=f"named n{place}")


def _curve(sweep: SweepFacts, trial: str, across: Scale, up: Scale, place: int | None = None) -> Markup:
    """A curve with its end: a cross if the trial failed, otherwise a dot."""
    curve: Curve = sweep.curves[trial]
    points = [(across(epoch), up(value)) for epoch, value in curve]
    style = "other" if place is None else f"named n{place}"
    title_ = element("title", f"{sweep.title(sweep.trials[trial].trial)}: {sweep.value(curve[-1][1])}")
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    if sweep.trials[trial].state == FAILED:
        cross = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
        end = element("path", d=cross, class_=f"{style} cross")
    else:
        end = element("circle", cx=x, cy=y, r=1.8 if place is None else _DOT, class_=f"{style} end")
    return element("g", title_ + element("polyline", points=way, class_=style) + end)


def _swatch(place: int) -> Markup:
    line = element("line", x1=0, x2=34, y1=6, y2=6, class_=f"named n{place}")
    return element("svg", line, viewBox="0 0 34 12", width=34, height=12, aria_hidden="true")
