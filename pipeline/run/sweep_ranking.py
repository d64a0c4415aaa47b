"""The ranking of a sweep for people: `rnnpipe sweep show`, and the line of the trial that is picked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from upath import UPath

from components import files
from components.errors import UserError
from components.evaluate.metrics import shown
from pipeline.run.folder import RunFolder, folder_named, run_folders
from pipeline.run.observe import Observer
from pipeline.run.record import RunRecord
from pipeline.run.trials import FAILED, SettingState, TrialState, measured_on, settings_ranked, trial_states
from pipeline.store.store import Store
from pipeline.sweep.draws import in_words
from pipeline.sweep.titles import settings_title


def find_sweep(root: UPath, name: str | None = None) -> RunRecord:
    """Returns what is known of a sweep now, whether it is over or not.

    Args:
        root: of the pipeline.
        name: the run's id, or part of it; None: the newest sweep.

    Raises:
        UserError: if there is no such run, or it is no sweep.
    """
    store, folders = Store(root), run_folders(root)
    if name is not None:
        record = Observer(folder_named(folders, name, root), store).record()
        assert record is not None
        if not record.rungs:
            sweeps = _sweeps(folders, store)
            known = f"sweeps are {', '.join(sweeps[-5:])}" if sweeps else "there is no sweep yet"
            raise UserError(
                f"{record.id} is no sweep: its configuration has no `sweep`; under {root} {known}."
            )
        return record
    for folder in reversed(folders):
        begun = folder.begun()
        if begun is not None and begun.get("rungs"):
            record = Observer(folder, store).record()
            if record is not None:
                return record
    raise UserError(
        f"No sweep under {root}. Start one with `rnnpipe run` and a `sweep` section, or name another --root."
    )


def _sweeps(folders: Sequence[RunFolder], store: Store) -> list[str]:
    """The ids of the sweeps among runs."""
    return [folder.id for folder in folders if (begun := folder.begun()) is not None and begun.get("rungs")]


def ranking_text(record: RunRecord) -> Group:
    """Returns the ranking of a sweep: a table with a row for every setting, and what it means.

    Args:
        record: of the sweep.
    """
    states = trial_states(record)
    ranking = settings_ranked(record, states)
    monitor, repeat = record.config["sweep"]["monitor"], record.config["sweep"]["repeat"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rank", justify="right")
    table.add_column("trial", no_wrap=True)
    table.add_column("settings", overflow="fold")
    if repeat > 1:
        table.add_column("seeds")
    table.add_column(f"mean {monitor} (95 %)" if repeat > 1 else monitor, justify="right")
    table.add_column("epochs", no_wrap=True)
    table.add_column("state", overflow="fold")
    for setting in ranking:
        table.add_row(*_cells(record, setting, repeat > 1))
    lines = [f"[bold]{record.id}[/]  {escape(record.name)}  [dim]{record.status}[/]"]
    return Group(*lines, table, *_notes(record, states, ranking))


def _cells(record: RunRecord, setting: SettingState, repeated: bool) -> list[str]:
    monitor, first = record.config["sweep"]["monitor"], setting.trials[0]
    score = "" if setting.mean is None else shown(monitor, setting.mean)
    if setting.interval is not None:
        low, high = (shown(monitor, end) for end in setting.interval)
        score += f" ({low} to {high})"
    epochs = list(dict.fromkeys(str(state.epochs) for state in setting.trials))
    picked = any(state.trial.id == record.pick for state in setting.trials)
    cells = [
        str(setting.rank or ""),
        first.trial.id,
        escape(in_words(first.trial.told)),
        *([", ".join(str(state.trial.seed) for state in setting.trials)] if repeated else []),
        score,
        ", ".join(epochs),
        _state_words(record, setting),
    ]
    return [f"[bold]{cell}[/]" if picked and cell else cell for cell in cells]


def _state_words(record: RunRecord, setting: SettingState) -> str:
    """The states of a setting's trials, and which of them is picked."""
    counts = Counter(state.words for state in setting.trials)
    alike = len(counts) == 1
    words = ", ".join(state if alike else f"{count} {state}" for state, count in counts.items())
    for state in setting.trials:
        if state.trial.id == record.pick:
            which = f"trial {state.trial.id} " if len(setting.trials) > 1 else ""
            words += f", {which}picked" + (" and served" if record.served else "")
    return words


def _notes(record: RunRecord, states: Mapping[str, TrialState], ranking: Sequence[SettingState]) -> list[str]:
    """What there is to say below the table."""
    notes = [
        f"[red]trial {state.trial.id} failed:[/] {escape(state.error)}"
        for state in states.values()
        if state.state == FAILED
    ]
    monitor, split = record.config["sweep"]["monitor"], measured_on(record)
    if record.pick and record.pick in states:
        best = f"the best of {_counted(len(ranking), states)} by {monitor} on the {split} split"
        notes.append(f"trial {record.pick} is picked: {best}")
        if record.served:
            notes.append(f"it is served as {files.relative(files.resolve(record.served))}")
        elif record.verdict:
            notes.append(f"it is not served: {escape('; '.join(record.verdict['reasons']))}")
        else:
            notes.append("it is not served: the run has not come to a verdict")
    else:
        notes.append("no trial is picked yet" if record.goes_on else "no trial was picked")
    if record.config["sweep"]["repeat"] > 1:
        notes.append(
            "[dim]interval: where the mean over all seeds lies with 95 % confidence, by Student's t[/]"
        )
    return notes


def _counted(settings: int, states: Mapping[str, TrialState]) -> str:
    if settings == len(states):
        return f"{len(states)} trial{'s' * (len(states) != 1)}"
    return f"{settings} settings ({len(states)} trials)"


def sweep_words(record: RunRecord) -> str:
    """Returns a sweep in a few words: how many trials, and the settings of the one that is picked.

    Args:
        record: of the sweep.
    """
    count = f"{len(record.trials)} trial{'s' * (len(record.trials) != 1)}"
    if record.pick not in record.trials:
        return f"{count}, none picked"
    trial = record.trials[record.pick]
    title = settings_title(trial.told, trial.id != trial.group, trial.seed)
    return f"{count}, picked {trial.id}: {title}"
