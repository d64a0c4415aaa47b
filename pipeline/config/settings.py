"""Settings of a sweep within the data of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SWEPT = ("model", "tokenize", "train")
"""The sections whose settings may differ between trials."""


def assigned(data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns data of a configuration with some values set, as --set does it; `data` stays as it is.

    Args:
        data: of a configuration.
        settings: by path.
    """
    made = dict(data)
    for path, value in settings.items():
        *sections, key = path.split(".")
        place = made
        for section in sections:
            inner = place.get(section)
            place[section] = dict(inner) if isinstance(inner, dict) else {}
            place = place[section]
        place[key] = value
    return made


def with_first_values(data: dict[str, Any]) -> dict[str, Any]:
    """Returns data of a configuration in which swept keys that are not written have their first value.

    A sweep that cannot be read is left for the validation to find.
    """
    sweep = data.get("sweep")
    over = sweep.get("over") if isinstance(sweep, dict) else None
    if not isinstance(over, dict):
        return data
    firsts = {key: _first(values) for key, values in over.items() if key.partition(".")[0] in SWEPT}
    missing = {key: value for key, value in firsts.items() if value is not None and not is_written(data, key)}
    return assigned(data, missing) if missing else data


def is_written(data: Mapping[str, Any], path: str) -> bool:
    """Whether something is written at a place, or in the place of a section around it.

    Args:
        data: of a configuration.
        path: with dots.
    """
    place: Any = data
    for key in path.split("."):
        if not isinstance(place, dict):
            return True
        if key not in place:
            return False
        place = place[key]
    return True


def _first(values: Any) -> Any:
    """A value that stands for all; None if there is none that could."""
    if isinstance(values, list):
        return values[0] if values else None
    bounds = (
        [bounds for bounds in values.values() if isinstance(bounds, list)] if isinstance(values, dict) else []
    )
    return bounds[0][0] if bounds and bounds[0] else None
