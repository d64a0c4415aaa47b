"""What people call a trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.sweep.draws import in_words


def trial_title(trial: str, group: str, seed: int, repeat: int) -> str:
    """Returns the name of a trial: of one of several seeds that of its setting, and the seed.

    Args:
        trial: its id.
        group: the id of the first trial with its settings.
        seed: of the trial.
        repeat: how many seeds every setting has.
    """
    return f"setting {group}, seed {seed}" if repeat > 1 else f"trial {trial}"


def settings_title(told: Mapping[str, Any], repeated: bool, seed: int) -> str:
    """Returns the settings of a trial in a line, and its seed where that is what distinguishes it.

    Args:
        told: the settings for people; see `pipeline.sweep.draws.told`.
        repeated: whether other trials have the same settings.
        seed: of the trial.
    """
    return in_words(told) + (f", seed {seed}" if repeated else "")
