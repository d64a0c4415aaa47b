"""The trials of a configuration."""

from __future__ import annotations

from pipeline.config import PipelineConfig
from pipeline.plan.node import FIRST, Trial
from pipeline.sweep.draws import config_with, settings_of, told


def trials_of(config: PipelineConfig) -> list[Trial]:
    """Returns what a run trains: its configuration, or the trials of its sweep.

    The trials of a setting have the run's seed, the seed after it, and so on; with more of them, or with more
    settings, those that were there before stay.

    Args:
        config: of the run, checked.
    """
    if config.sweep is None:
        return [Trial(FIRST, config)]
    trials = []
    for number, settings in enumerate(settings_of(config.sweep, config.written), start=1):
        made = config_with(config, settings)
        words = told(settings, config.sweep.over)
        trials.append(Trial(str(number), made, settings, str(number), words))
        for again in range(1, config.sweep.repeat):
            repeated = made.model_copy(update={"seed": config.seed + again})
            trials.append(Trial(f"{number}.{again + 1}", repeated, settings, str(number), words))
    return trials
