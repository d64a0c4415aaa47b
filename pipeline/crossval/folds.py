"""What a cross-validation trains: a trial for every fold, with an ingest of its own."""

from __future__ import annotations

from dataclasses import dataclass

from components.errors import UserError
from components.ingest.config import IngestConfig
from components.ingest.split_config import FoldSplit, GroupSplit
from pipeline.config import PipelineConfig
from pipeline.config.checks import misfits
from pipeline.config.problems import ConfigError
from pipeline.config.sweep import SweepConfig
from pipeline.plan.node import Trial

MOST_FOLDS = 20
FOLD = "fold"
"""The setting in which the trials differ."""


@dataclass(frozen=True)
class CrossValidation:
    """What is trained and measured.

    Args:
        config: of the whole; noted as a sweep over the folds, which ranks nothing.
        trials: one for every fold, in order.
        notes: how records are dealt, for people.
    """

    config: PipelineConfig
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]


def cross_validation(
    config: PipelineConfig, folds: int, by: str | None = None, parallel: int = 1
) -> CrossValidation:
    """Makes the trials of a run's configuration.

    Of files that are named by split those of train are dealt. A validation file stays what every training is
    watched on, as in a run; a test file is left alone, for it is what the chosen model is measured on in the
    end.

    Args:
        config: as for a run.
        folds: how many.
        by: the column whose values stay together; by default that of `ingest.split`, if it is by group.
        parallel: how many trials a worker trains at the same time.

    Raises:
        UserError: if it cannot be cross-validated; the message says why.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise UserError(
            f"--folds received {folds}, expected 2 to {MOST_FOLDS}, "
            "as every fold has steps of its own in the job"
        )
    if config.sweep is not None:
        raise UserError(
            "sweep: a cross-validation measures one setting, so that no fold has helped to choose it. Run "
            "the sweep, set what it picks, remove `sweep`, and cross-validate that."
        )
    given = config.ingest.files
    split = _split(config, folds, by)
    named = (
        {name: source for name, source in given.items() if name != "test"}
        if isinstance(given, dict)
        else given
    )
    ingest = config.ingest.model_copy(update={"files": named, "split": split})
    _check(config, ingest, by)
    trials = tuple(
        Trial(
            f"{FOLD}-{number}",
            _with(config, ingest, number),
            {FOLD: number},
            group=f"{FOLD}-{number}",
            told={FOLD: number},
        )
        for number in range(1, folds + 1)
    )
    sweep = SweepConfig(
        over={FOLD: list(range(1, folds + 1))},
        search="grid",
        monitor=config.train.monitored,
        parallel=parallel,
    )
    whole = config.model_copy(
        update={"ingest": config.ingest.model_copy(update={"files": named}), "sweep": sweep}
    )
    return CrossValidation(whole, trials, _notes(config, split))


def _split(config: PipelineConfig, folds: int, by: str | None) -> FoldSplit:
    """The split of the first fold."""
    given, column = config.ingest.split, _column(config.ingest, by)
    if isinstance(given, GroupSplit) and column is None:
        column = given.column
    if given.type in ("time", "fold"):
        reason = (
            "folds would be trained on what came later than what they are tested on"
            if given.type == "time"
            else "it is one fold already"
        )
        raise UserError(
            f"ingest.split: received {given.type}, which cannot be cross-validated: {reason}. Use "
            "`rnnpipe run`, or deal the records without regard to it: --set ingest.split=hash"
        )
    by_hash = given.type == "hash" and "split" in config.ingest.model_fields_set
    stratified = config.task == "classification" and column is None and not by_hash
    return FoldSplit(type="fold", folds=folds, fold=1, stratified=stratified, column=column)


def _column(ingest: IngestConfig, by: str | None) -> str | int | None:
    by_position = any(isinstance(column, int) for column in ingest.columns.values())
    return int(by) if by is not None and by.isdecimal() and by_position else by


def _check(config: PipelineConfig, ingest: IngestConfig, by: str | None) -> None:
    problems = misfits(config.task, {"ingest": ingest, "train": config.train, "sweep": None})
    if problems:
        named = "--by" if by is not None else "ingest.split"
        raise ConfigError("\n".join(f"{named}: {problem.message}" for problem in problems))


def _with(config: PipelineConfig, ingest: IngestConfig, number: int) -> PipelineConfig:
    split = ingest.split.model_copy(update={"fold": number})
    return config.as_trial({"ingest": ingest.model_copy(update={"split": split})})


def _notes(config: PipelineConfig, split: FoldSplit) -> tuple[str, ...]:
    if split.column is not None:
        dealt = f"by group: no value of {split.column!r} is in two splits"
    elif split.stratified:
        dealt = "stratified by label; the hashes of the texts decide within one"
    else:
        dealt = "by the hashes of the texts, without regard to labels or targets"
    given = config.ingest.files if isinstance(config.ingest.files, dict) else {}
    notes = [f"{split.folds} folds, dealt {dealt}"]
    fraction = config.ingest.holdout.get("validation")
    if "validation" in given:
        notes.append("every fold is watched on the file of validation, as a run is; it is not dealt")
    elif fraction:
        notes.append(f"validation is {fraction:.0%} of the other folds; nothing of the test fold is in it")
    if "test" in given:
        notes.append("the file of test is left alone: measure on it what you choose in the end")
    if config.train.init_from:
        notes.append(
            f"every fold starts from {config.train.init_from}: if that has learnt from these records, "
            "what is measured is too good"
        )
    return tuple(notes)
