"""The settings that a sweep tries, in order."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from pipeline.config.defaults import fill_defaults
from pipeline.config.explain import look_up
from pipeline.config.models import PipelineConfig, flatten
from pipeline.config.schema import members
from pipeline.config.settings import assigned
from pipeline.config.sweep import Range, SweepConfig
from pipeline.sweep.space import grid, points, value_at

Settings = dict[str, Any]
"""The value of every swept key."""


def settings_of(sweep: SweepConfig, data: Mapping[str, Any]) -> list[Settings]:
    """Returns what a sweep tries; with more trials, the first ones stay.

    Args:
        sweep: without mistakes.
        data: of the configuration around it, whose types say which keys take whole numbers only.
    """
    if sweep.search == "grid" or sweep.search is None or sweep.trials is None:
        return list(grid(sweep.over))
    positions = points(sweep.search, sweep.seed, sweep.trials, len(sweep.over))
    whole: dict[str, dict[str, bool]] = {}  # by the values of lists, which may decide what else is
    drawn = []
    for point in positions:
        chosen = dict(zip(sweep.over, point, strict=True))
        listed = {
            key: value_at(values, chosen[key], whole=False)
            for key, values in sweep.over.items()
            if not isinstance(values, Range)
        }
        case = json.dumps(listed, sort_keys=True)
        if case not in whole:
            ranges = [key for key, values in sweep.over.items() if isinstance(values, Range)]
            within = assigned(data, listed)
            whole[case] = {key: takes_whole_numbers(key, within) for key in ranges}
        drawn.append(
            {
                key: listed[key] if key in listed else value_at(values, chosen[key], whole[case][key])
                for key, values in sweep.over.items()
            }
        )
    return drawn


def takes_whole_numbers(key: str, data: Mapping[str, Any]) -> bool:
    """Whether only whole numbers may stand at a place of a configuration.

    Args:
        key: the path of the place, with dots.
        data: of the configuration.
    """
    node, _ = look_up(tuple(key.split(".")), dict(data))
    return {member.get("type") for member in members(node)} - {"null"} == {"integer"}


def config_with(config: PipelineConfig, settings: Mapping[str, Any]) -> PipelineConfig:
    """Returns the configuration of a trial: that of a run with these settings, and without a sweep.

    Sections in which nothing is set are those of `config` themselves.

    Args:
        config: with a sweep.
        settings: by path.

    Raises:
        ValidationError: if a section cannot be as they say; whether sections fit each other is not asked.
    """
    data = fill_defaults(data_with(config, settings))
    sections = {key.partition(".")[0] for key in settings} | {"train"}
    set_ = {name: _adapter(name).validate_python(data.get(name, {})) for name in sections}
    return config.as_trial(set_)


@cache
def _adapter(section: str) -> TypeAdapter[Any]:
    return TypeAdapter(PipelineConfig.model_fields[section].rebuild_annotation())


def data_with(config: PipelineConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the data of `config_with`, as it could have been written."""
    assert config.sweep is not None
    data = assigned({key: value for key, value in config.written.items() if key != "sweep"}, settings)
    monitor = config.sweep.monitor
    if monitor not in (None, "loss") and data.get("train", {}).get("monitor") is None:
        data = assigned(data, {"train.monitor": monitor})
    return data


def in_words(settings: Mapping[str, Any]) -> str:
    """Returns settings in a line, by short names of their keys."""
    short = short_names(settings)
    return ", ".join(f"{short[key]} {in_word(value)}" for key, value in settings.items())


def told(settings: Mapping[str, Any], over: Mapping[str, Any]) -> Settings:
    """Returns settings as people are told of them: where whole sections are listed, what tells them apart.

    Args:
        settings: of a trial, by path.
        over: what the sweep tries.
    """
    return {key: _section(value, over[key]) for key, value in settings.items()}


def _section(value: Any, others: Any) -> Any:
    """Returns a value; a section out of a list of them as the few words that distinguish it."""
    if not isinstance(value, dict) or not isinstance(others, list):
        return value
    leaves = [flatten(each) if isinstance(each, dict) else {"": each} for each in others]
    paths = list(dict.fromkeys(path for each in leaves for path in each))
    paths.sort(key=lambda path: path.rpartition(".")[2] != "type")  # kinds say most
    told: list[str] = []
    own, alike = flatten(value), leaves
    for path in paths:
        left = [each for each in alike if each.get(path) == own.get(path)]
        if len(left) < len(alike) and path in own:
            kind = path.rpartition(".")[2] == "type"
            told.append(in_word(own[path]) if kind else f"{path} {in_word(own[path])}")
        alike = left
        if len(alike) == 1:
            break
    return " ".join(told) or in_word(value)


def short_names(keys: Collection[str]) -> dict[str, str]:
    """Returns short names of settings, by path: the last word of every path where those differ.

    A `type` is called by what it is the type of.

    Args:
        keys: paths, such as model.encoder.units.
    """
    short = {key: key.removesuffix(".type").rpartition(".")[2] for key in keys}
    return short if len(set(short.values())) == len(short) else {key: key for key in keys}


def in_word(value: Any) -> str:
    """Returns the value of a setting for people: of a section its type, and what else is in it."""
    if isinstance(value, dict):
        inner = [f"{key} {in_word(item)}" for key, item in value.items() if key != "type"]
        return " ".join([str(value.get("type", "")), f"({', '.join(inner)})" if inner else ""]).strip()
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
