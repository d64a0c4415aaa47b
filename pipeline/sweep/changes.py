"""In what the configuration of a trial differs from that of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.config.settings import SWEPT, assigned


def changes_of(trial: PipelineConfig, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a trial that are others than those of its run, by path.

    What is filled in may depend on what is swept, so that there can be more of them than swept settings.

    Args:
        trial: its configuration.
        config: the run's, resolved.
    """
    changes: dict[str, Any] = {}
    for name, own in trial.model_dump(mode="json", include={*SWEPT, "seed"}).items():
        whole = config.get(name)
        if own == whole:
            continue
        if isinstance(own, dict) and isinstance(whole, dict) and own.keys() == whole.keys():
            changes |= {f"{name}.{key}": value for key, value in own.items() if value != whole[key]}
        else:
            changes[name] = own
    return changes


def trial_config(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the configuration of a trial, resolved, without a sweep.

    Args:
        config: the run's, resolved.
        changes: what the trial has otherwise, by path.
    """
    return assigned({key: value for key, value in config.items() if key != "sweep"}, changes)
