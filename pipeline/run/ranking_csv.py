"""The ranking of a sweep as a table for other programs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from pipeline.run.record import RunRecord
from pipeline.run.trials import SettingState, TrialState, settings_ranked


def ranking_csv(record: RunRecord) -> str:
    """Returns the trials of a sweep as CSV with a header, the best setting first, numbers with all digits.

    Every swept setting has a column, under its path; one that is a section is written as JSON. `mean`, `low`
    and `high` are those of the trials of a setting together: the mean of their scores, and where the mean
    over all seeds lies with 95 % confidence.

    Args:
        record: of the sweep.
    """
    settings = list(dict.fromkeys(path for trial in record.trials.values() for path in trial.settings))
    columns = ["rank", "trial", "group", "seed", *settings, "monitor", "score", "mean", "low", "high"]
    columns += ["epochs", "planned_epochs", "state", "error", "picked", "served"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for setting in settings_ranked(record):
        for state in setting.trials:
            writer.writerow(_row(record, setting, state))
    return text.getvalue()


def _row(record: RunRecord, setting: SettingState, state: TrialState) -> dict[str, Any]:
    trial, picked = state.trial, state.trial.id == record.pick
    low, high = setting.interval or (None, None)
    values = {
        "rank": setting.rank or None,
        "trial": trial.id,
        "group": trial.group,
        "seed": trial.seed,
        **trial.settings,
        "monitor": record.config["sweep"]["monitor"],
        "score": state.score,
        "mean": setting.mean,
        "low": low,
        "high": high,
        "epochs": state.epochs,
        "planned_epochs": state.planned,
        "state": state.state,
        "error": state.error,
        "picked": picked,
        "served": record.served if picked else "",
    }
    return {name: _cell(value) for name, value in values.items()}


def _cell(value: Any) -> Any:
    """What is no text or number as JSON has it; an unknown value is an empty cell."""
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False)
    return value
