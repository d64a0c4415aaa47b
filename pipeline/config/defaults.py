"""Defaults that depend on the rest of a configuration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from components.evaluate.metrics import metric_names
from components.models.encoders import ENCODERS
from components.models.encoders.base import EncoderConfig
from components.strict import FIELDS, Task
from components.train.schedule_config import Plateau
from pipeline.config.checks import TEXTS
from pipeline.config.settings import with_first_values

_PATIENCE = 3  # epochs without improvement


def fill_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a `PipelineConfig` with the defaults that depend on the task or the name.

    Values of the wrong type are left for the validation to find.
    """
    task = data.get("task")
    if not isinstance(task, str) or task not in FIELDS:
        return data
    filled = with_first_values(plain(data))
    filled["tokenize"] = _fill_tokenize(task, filled.get("tokenize", {}))
    if task == "seq2seq" and filled.get("decode") is None:
        filled["decode"] = {}
    if isinstance(model := filled.get("model"), dict):
        filled["model"] = _fill_model(task, model)
    evaluate = filled.get("evaluate", {})
    if isinstance(evaluate, dict) and evaluate.get("metrics", []) == []:
        filled["evaluate"] = {**evaluate, "metrics": list(metric_names(task))}
    name, tracking = filled.get("name"), filled.get("tracking", {})
    if isinstance(name, str) and isinstance(tracking, dict) and tracking.get("experiment") is None:
        filled["tracking"] = {**tracking, "experiment": name}
    train = filled.get("train", {})
    if isinstance(train, dict) and "early_stopping" not in train and _stops_early(train, filled.get("model")):
        filled["train"] = {**train, "early_stopping": {"patience": _PATIENCE}}
    if isinstance(sweep := filled.get("sweep"), dict):
        filled["sweep"] = _fill_sweep(sweep, filled.get("train"))
    return filled


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """Returns sections that are given as models as the data that they were made of."""
    return {
        key: value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
        for key, value in data.items()
    }


def _fill_sweep(sweep: dict[str, Any], train: Any) -> dict[str, Any]:
    search = "grid" if sweep.get("trials") is None else "sobol"
    monitor = train.get("monitor") if isinstance(train, dict) else None
    filled = {"search": search, "monitor": monitor or "loss"}
    return sweep | {key: value for key, value in filled.items() if sweep.get(key) is None}


def _fill_tokenize(task: Task, tokenize: Any) -> Any:
    if not isinstance(tokenize, dict):
        return tokenize
    sections = {field: tokenize.get(field) for field in TEXTS[task]}
    filled = {
        field: {"type": "auto"}
        if section is None
        else {"type": "auto", **section}
        if isinstance(section, dict)
        else section
        for field, section in sections.items()
    }
    return {**tokenize, **filled}


def _kind_of(encoder: Any) -> type[EncoderConfig]:
    kind = ENCODERS.kind(encoder.get("type")) if isinstance(encoder, dict) else type(encoder)
    return kind if kind is not None and issubclass(kind, EncoderConfig) else EncoderConfig


def _stops_early(train: dict[str, Any], model: Any) -> bool:
    """Whether to end training early where nothing is said of it."""
    schedule = train.get("learning_rate_schedule")
    if isinstance(schedule, dict) and schedule.get("type") == "plateau":
        waits = schedule.get("patience", Plateau.model_fields["patience"].default)
        if not isinstance(waits, int) or waits >= _PATIENCE:
            return False
    solved = isinstance(model, dict) and model.get("readout") is not None
    return train.get("validate_every", "epoch") == "epoch" and not solved


def _fill_model(task: Task, model: dict[str, Any]) -> dict[str, Any]:
    if task == "classification":
        encoder = model.get("encoder")
        kind = _kind_of(encoder)
        if model.get("pooling") is None:
            model = {**model, "pooling": kind.default_pooling}
        if isinstance(encoder, dict) and kind.default_bidirectional:
            model = {**model, "encoder": {"bidirectional": True, **encoder}}
        return model
    if "decoder" in model or "attention" in model:  # once one is written, leaving the other out means none
        return model
    units = encoder.get("units") if isinstance(encoder := model.get("encoder"), dict) else None
    decoder = {"type": "gru"} | ({"units": units} if type(units) is int and units > 0 else {})
    return {**model, "attention": {"type": "bahdanau"}, "decoder": decoder}
