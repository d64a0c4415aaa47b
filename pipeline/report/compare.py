"""Runs side by side: what differs in configuration, in metrics beyond the noise, and in cost."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.errors import UserError
from components.redaction import redacted
from pipeline.config import flatten
from pipeline.report.facts import RunFacts
from pipeline.report.outcome import encoder_words, outcomes
from pipeline.report.standings import Standing, best, standing
from pipeline.stages.log import epochs_seconds
from pipeline.sweep.changes import trial_config

if TYPE_CHECKING:
    from components.evaluate.measured import Measured

# They say where things go; what a run measures does not depend on them.
_PLACES = ("root", "name", "export.directory", "tracking.")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
        runs: what is compared.
        labels: a letter for each.
        encoders: the layer type of each.
        outcomes: what became of each: as which version it is served, and whether that is the champion.
        parameters: the keys in which they differ, with the value of each run.
        metrics: by name, the standing of each run; None where it was not measured.
        costs: by name, what each run's training took, for people.
        notes: what keeps runs from being comparable.
    """

    runs: list[RunFacts]
    labels: list[str]
    encoders: list[str]
    outcomes: list[str]
    parameters: dict[str, list[str]]
    metrics: dict[str, list[Standing | None]]
    costs: dict[str, list[str]]
    notes: list[str]


def compare(runs: Sequence[RunFacts]) -> Comparison:
    """Compares runs, each with the best of those on the same examples.

    Args:
        runs: two or more, at most 26; those that were not evaluated have their configuration compared only.

    Raises:
        UserError: if there is only one, or too many.
    """
    if not 2 <= len(runs) <= len(string.ascii_uppercase):
        count = (
            f"{len(runs)} run{'s' * (len(runs) != 1)} with metrics" if len(runs) < 2 else f"{len(runs)} runs"
        )
        raise UserError(f"received {count}; expected 2 to 26 to compare: `rnnpipe runs` lists them.")
    labels = list(string.ascii_uppercase[: len(runs)])
    measured = [run.measured() for run in runs]
    examples = [run.examples_digest() for run in runs]
    names = dict.fromkeys(
        name for evaluation in measured if evaluation for name in evaluation.report["metrics"]
    )
    notes = [
        f"{label} ({run.record.status}) was not evaluated, or its artifacts are gone"
        for label, run, evaluation in zip(labels, runs, measured, strict=True)
        if evaluation is None
    ]
    if len({own for own, evaluation in zip(examples, measured, strict=True) if evaluation}) > 1:
        notes.append("they were measured on different examples: each is compared with the best on its own")
    return Comparison(
        list(runs),
        labels,
        [encoder_words(run.record) for run in runs],
        outcomes([run.record for run in runs]),
        _differing_parameters(runs),
        {name: _standings(name, measured, examples) for name in names},
        _costs(runs),
        notes,
    )


def _differing_parameters(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    parameters = [_parameters(run) for run in runs]
    keys = dict.fromkeys(key for own in parameters for key in own)
    table = {
        key: [_shown(own.get(key, "")) for own in parameters] for key in keys if not key.startswith(_PLACES)
    }
    return {key: values for key, values in table.items() if len({*values}) > 1}


def _parameters(run: RunFacts) -> dict[str, Any]:
    """Those of the model that was measured: of a sweep the trial that is picked, of `auto` what it became."""
    trial = run.record.trials.get(run.record.pick)
    if trial is None:
        written = {key: value for key, value in run.parameters().items() if not key.startswith("sweep")}
    else:
        written = flatten(redacted(trial_config(run.record.config, trial.changes)))
    return written | run.settled()


def _standings(
    name: Any, measured: Sequence[Measured | None], examples: Sequence[str]
) -> list[Standing | None]:
    """How each run stands beside the best on the same examples."""
    rivals = {
        count: best(name, [m for m, own in zip(measured, examples, strict=True) if m and own == count])
        for count in {*examples}
    }
    return [
        standing(name, evaluation, rivals[own]) if evaluation else None
        for evaluation, own in zip(measured, examples, strict=True)
    ]


def _costs(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    trained = [run.trained for run in runs]
    epochs = [model.history()["epochs"] if model else [] for model in trained]
    return {
        "parameters": [f"{model.summary['parameters']:,}" if model else "" for model in trained],
        "epochs": [str(len(rows) or "") for rows in epochs],
        "training, seconds": [
            f"{max(model.manifest.seconds, epochs_seconds(took)):,.0f}" if model else ""
            for model, took in zip(trained, epochs, strict=True)
        ],
    }


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
