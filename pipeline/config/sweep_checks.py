"""What is wrong with a sweep, and with the trials that it makes, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from math import prod
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.config.defaults import fill_defaults
from pipeline.config.explain import explain
from pipeline.config.models import PipelineConfig
from pipeline.config.problems import KeyPath, Problem, did_you_mean, dotted, joined, shown
from pipeline.config.settings import SWEPT, assigned
from pipeline.config.sweep import MOST_TRIALS, Halving, Range, SweepConfig
from pipeline.sweep.draws import data_with, in_words, settings_of, takes_whole_numbers, told
from pipeline.sweep.space import ends

MOST_BRANCHES = 16
"""Tokenizations of one run: they are steps of the job, unlike trials."""

_REFUSED = {
    "ingest": "all trials are compared on the same examples",
    "evaluate": "only the pick is evaluated; trials are ranked by sweep.monitor",
    "decode": "trials are ranked by greedy decoding, which the search for the pick's answers does not shape",
    "export": "only the pick is exported",
    "seed": "sweep.repeat trains every setting with several seeds",
    "train.init_from": "all trials start alike",
}
_SAME = ("name", "task", "root", "tracking", "runner", "sweep")
_MOST_REPORTED = 20  # trials that cannot be


def sweep_problems(data: dict[str, Any], config: PipelineConfig | None) -> list[Problem]:
    """Returns the problems of a sweep that is valid by itself.

    Args:
        data: of the configuration, as it is written.
        config: the same; None if there are other problems, which then are not reported for every trial again.
    """
    written = fill_defaults(data).get("sweep")
    try:
        sweep = TypeAdapter(SweepConfig).validate_python(written)
    except ValidationError:
        return []
    problems = [*_keys(sweep), *_counts(sweep)]
    if problems:
        return problems
    problems = list(_values(sweep, data))
    if problems or config is None:
        return problems
    return list(_trials(sweep, config))


def under_swept(path: KeyPath, data: Mapping[str, Any]) -> bool:
    """Whether a place is one that only a sweep has filled, whose problems are those of the sweep."""
    sweep = data.get("sweep")
    over = sweep.get("over") if isinstance(sweep, dict) else None
    keys = [tuple(key.split(".")) for key in over if isinstance(key, str)] if isinstance(over, dict) else []
    place: Any = data
    for key in path:
        if not isinstance(place, dict):
            return False
        if key not in place:
            return any(path[: len(swept)] == swept for swept in keys)
        place = place[key]
    return False


def _over(*path: str | int) -> KeyPath:
    return ("sweep", "over", *path)


def _keys(sweep: SweepConfig) -> Iterator[Problem]:
    """Keys that cannot be swept, and pairs of which one holds the other."""
    for key in sweep.over:
        section = key.partition(".")[0]
        refused = _REFUSED.get(key) or _REFUSED.get(section)
        if refused:
            yield Problem(_over(key), f"{key} cannot be swept: {refused}; remove it")
        elif section in _SAME:
            yield Problem(_over(key), f"{key} cannot be swept: it is the same for all trials; remove it")
        elif section not in SWEPT:
            hint = did_you_mean(section, SWEPT)
            expected = f"expected a key below {joined(SWEPT)}, such as model.encoder.units"
            yield Problem(_over(key), f"unknown key; {expected}{hint}")
    for one, other in combinations(sweep.over, 2):
        outer, inner = sorted((one, other), key=len)
        if inner.startswith(f"{outer}."):
            yield Problem(
                _over(inner),
                f"is within {outer}, which is swept as well; write whole sections there, or remove one",
            )


def _counts(sweep: SweepConfig) -> Iterator[Problem]:
    """Lists and ranges that do not go with the search, and too many trials."""
    ranges = [key for key, values in sweep.over.items() if isinstance(values, Range)]
    count = sweep.trials or 0
    if sweep.search == "grid":
        for key in ranges:
            yield Problem(
                _over(key),
                "received a range, which a grid cannot try one by one; give a list, or set sweep.trials, "
                "and sweep.search to sobol or random",
            )
        count = prod(len(values) for values in sweep.over.values() if isinstance(values, list))
        if sweep.trials is not None:
            message = f"a grid tries all {count} combinations; remove it, or set sweep.search to random"
            yield Problem(("sweep", "trials"), message)
    elif sweep.trials is None:
        yield Problem(
            ("sweep", "trials"),
            f"missing; search {sweep.search} expects how many trials are drawn, such as 16",
        )
    if count * sweep.repeat > MOST_TRIALS:
        message = f"{count:,} settings with {sweep.repeat} seeds are more than {MOST_TRIALS:,} trials"
        yield Problem(("sweep",), f"{message}; shorten the lists, or draw fewer")
    for key, values in sweep.over.items():
        if isinstance(values, list):
            written = [json.dumps(value, sort_keys=True) for value in values]
            for index, value in enumerate(written):
                if value in written[:index]:
                    yield Problem(_over(key, index), f"{shown(values[index])} is there twice; remove one")


def _values(sweep: SweepConfig, data: dict[str, Any]) -> Iterator[Problem]:
    """Values that cannot stand at their key: those of lists, and both ends of ranges."""
    for key, values in sweep.over.items():
        if not isinstance(values, Range):
            for index, value in enumerate(values):
                yield from _value(data, key, value, _over(key, index))
            continue
        found: list[Problem] = []
        if takes_whole_numbers(key, fill_defaults(data)):
            low, high = ends(values, whole=True)
            if (low, high) != values.bounds:
                bounds = " to ".join(f"{bound:g}" for bound in values.bounds)
                yield Problem(_over(key), f"received a range from {bounds}, expected whole numbers as bounds")
                continue
        else:
            low, high = ends(values, whole=False)
        for value in (low, high):
            found = found or list(_value(data, key, value, _over(key)))
        yield from found


def _value(data: dict[str, Any], key: str, value: Any, place: KeyPath) -> Iterator[Problem]:
    """What is wrong with a value at its key, others standing as they are written."""
    path = tuple(key.split("."))
    tried = assigned({name: section for name, section in data.items() if name != "sweep"}, {key: value})
    first = fill_defaults({**tried, "sweep": data["sweep"]})
    try:
        PipelineConfig.model_validate({**first, "sweep": None})
    except ValidationError as error:
        for problem in explain(error, {**first, "sweep": None}):
            if problem.path[: len(path)] == path:
                yield Problem((*place, *problem.path[len(path) :]), problem.message)
            elif path[: len(problem.path)] == problem.path:  # a section of it says so
                yield Problem(place, problem.message)


def _trials(sweep: SweepConfig, config: PipelineConfig) -> Iterator[Problem]:
    """Trials that cannot be, although every value can, and what they must have in common."""
    branches: set[str] = set()
    epochs: set[int | None] = set()
    refused = 0
    for number, settings in enumerate(settings_of(sweep, config.written), start=1):
        try:
            trial = PipelineConfig.model_validate(data_with(config, settings))
            wrong = list(_unranked(trial, sweep))
            branches.add(trial.tokenize.model_dump_json())
            epochs.add(trial.train.epochs)
        except ValidationError as error:
            wrong = list(_explained(error, data_with(config, settings)))
        if wrong:
            refused += 1
            if refused <= _MOST_REPORTED:
                yield Problem(
                    _over(), f"trial {number} ({in_words(told(settings, sweep.over))}): {'; '.join(wrong)}"
                )
    if refused > _MOST_REPORTED:
        yield Problem(_over(), f"{refused - _MOST_REPORTED:,} more trials are refused")
    if len(branches) > MOST_BRANCHES:
        yield Problem(
            _over(),
            f"gives {len(branches):,} different sections tokenize, expected at most {MOST_BRANCHES}, as all "
            "are branches of the job; sweep fewer of its settings",
        )
    if sweep.halving:
        yield from _stops(sweep.halving, epochs)


def _stops(halving: Halving, written: set[int | None]) -> Iterator[Problem]:
    """Epochs after which trials cannot stop together.

    Args:
        halving: of the sweep.
        written: `train.epochs` of the trials.
    """
    epochs = {number for number in written if number is not None}
    if len(epochs) < len(written):
        yield Problem(
            ("sweep", "halving"),
            "received no train.epochs, expected a number, as trials stop together on the way to it; write "
            "train.epochs, or remove halving",
        )
    if len(epochs) > 1:
        yield Problem(
            ("sweep", "halving"),
            f"received trials of {min(epochs)} to {max(epochs)} epochs, expected the same of all, as they "
            "stop together; do not sweep train.epochs, or remove halving",
        )
    if epochs and min(epochs) <= halving.min_epochs:
        yield Problem(
            ("sweep", "halving", "min_epochs"),
            f"received {halving.min_epochs}, expected less than train.epochs, which is {min(epochs)}",
        )


def _unranked(trial: PipelineConfig, sweep: SweepConfig) -> Iterator[str]:
    """Why a trial has nothing to be ranked by."""
    if trial.model.readout is not None:
        if sweep.monitor in (None, "loss"):
            yield (
                "model.readout: what is solved in closed form has no loss to be ranked by; set "
                "sweep.monitor to a metric, such as accuracy"
            )
        if sweep.halving:
            yield (
                "model.readout: what is solved in closed form has no epochs to stop after; remove "
                "sweep.halving"
            )
    if sweep.monitor not in (None, "loss", trial.train.monitor):
        yield (
            f"train.monitor: received '{trial.train.monitor}', expected '{sweep.monitor}', which is "
            "sweep.monitor; remove one of them"
        )


def _explained(error: ValidationError, data: dict[str, Any]) -> Iterator[str]:
    """The problems of a trial, in words."""
    for problem in explain(error, data):
        yield f"{dotted(problem.path)}: {problem.message}"
    for details in error.errors(include_url=False):
        if not details["loc"]:  # sections that do not fit each other
            yield from str(details["ctx"]["error"]).splitlines()
