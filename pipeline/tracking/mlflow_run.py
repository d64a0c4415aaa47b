"""How a run begins in MLflow: under which name, and with which parameters and tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipeline.config import flatten, yaml_text
from pipeline.run.record import RunRecord
from pipeline.tracking.mlflow_client import without_password
from pipeline.tracking.sender import Scalar
from pipeline.tracking.tracker import Tracker

_PARTS = ("encoder", "attention", "decoder", "pooling")


def start_tracker(
    record: RunRecord,
    uri: str,
    run_id: str | None = None,
    began: float | None = None,
    again: bool = False,
    arrived: Callable[[str], None] = lambda _: None,
) -> Tracker:
    """Makes a run's tracker and has it begin.

    Args:
        record: the run's.
        uri: where MLflow keeps its runs.
        run_id: the run in MLflow, if it is there.
        began: when the run began, in seconds since 1970. Default: now.
        again: whether it is sent again, by another process.
        arrived: called, by another thread, with the id of the run in MLflow once it is there.
    """
    config = published(record.config)
    experiment = config["tracking"]["experiment"]
    rules = config.get("evaluate", {}).get("bless")
    kind = _types(config).get("encoder", "")
    tracker = Tracker(uri, experiment, record.id, kind, run_id, not again, again, arrived)
    tags = {"pipeline": record.name, "bless": json.dumps(rules), **record.code}
    tracker.start(params(config), tags, yaml_text(config), began)
    return tracker


def published(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a record's configuration without the password that MLflow's address may have."""
    if "tracking" not in config:
        return config
    tracking = config["tracking"]
    return {**config, "tracking": {**tracking, "uri": without_password(tracking["uri"])}}


def params(config: dict[str, Any]) -> dict[str, Scalar]:
    """Returns the parameters, flat: what a run does, and not what is good enough.

    The kinds of layers also have short names: MLflow's parallel coordinates begin with the first three
    parameters of the alphabet that differ.

    Args:
        config: as a record keeps it.
    """
    flat = flatten(config)
    return {**_types(config), **{key: flat[key] for key in flat if not key.startswith("evaluate.bless")}}


def _types(config: dict[str, Any]) -> dict[str, str]:
    parts = {part: config.get("model", {}).get(part) for part in _PARTS}
    return {
        part: value["type"] if isinstance(value, dict) else value for part, value in parts.items() if value
    }
