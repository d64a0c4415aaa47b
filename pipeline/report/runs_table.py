"""The runs of every pipeline as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from components import files
from components.errors import UserError
from components.evaluate.metrics import shown
from pipeline.config.places import root_of
from pipeline.run.observe import read_records
from pipeline.run.record import RunRecord
from pipeline.run.sweep_ranking import sweep_words
from pipeline.serving.versions import read_note, versions
from pipeline.sweep.changes import trial_config

_NARROW = 110  # columns of a terminal, below which only the most important ones are shown
_FEW = 3  # metrics


def records_of(root: str, name: str | None = None) -> list[RunRecord]:
    """Returns the runs of a pipeline, oldest first; by default those of all under a root.

    Raises:
        UserError: if there are none.
    """
    records = read_records(root_of(root))
    if not records:
        raise UserError(f"No runs under {root}. Start one with `rnnpipe run`, or name another --root.")
    chosen = [record for record in records if name in (None, record.name)]
    if not chosen:
        names = ", ".join(dict.fromkeys(record.name for record in records))
        raise UserError(f"received --name {name}, which no run under {root} has; expected one of {names}.")
    return chosen


def runs_tables(records: Sequence[RunRecord], width: int) -> Group:
    """Returns a table for every pipeline, as pipelines measure different things.

    A line has the run, its encoder, its metrics and what became of it: the number of the version that it was
    pushed as, and `champion` if that answers now. In a wide terminal there are more metrics, the time and the
    epochs.

    Args:
        records: of the runs, oldest first.
        width: of the terminal, in characters.
    """
    parts: list[RenderableType] = []
    for name in dict.fromkeys(record.name for record in records):
        if parts:
            parts.append("")
        parts += [f"[bold]{escape(name)}[/]", _table([r for r in records if r.name == name], width < _NARROW)]
    return Group(*parts)


def _table(records: Sequence[RunRecord], narrow: bool) -> Table:
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("encoder", overflow="fold")
    if any(record.rungs for record in records):
        table.add_column("sweep", no_wrap=True, overflow="ellipsis")
    if not narrow:
        table.add_column("seconds", justify="right")
        table.add_column("epochs")
    kept = metrics[:_FEW] if narrow else metrics
    for metric in kept:
        table.add_column(metric.replace("_", " "), justify="right", overflow="fold")
    table.add_column("outcome", overflow="fold")
    champions = _champions(records)
    for record in records:
        cells = [record.id, escape(_encoder(record))]
        if any(other.rungs for other in records):
            cells.append(escape(sweep_words(record)) if record.rungs else "")
        if not narrow:
            cells += [f"{record.seconds:.0f}", _epochs(record)]
        cells += [shown(name, record.metrics[name]) if name in record.metrics else "" for name in kept]
        table.add_row(*cells, _outcome(record, champions))
    return table


def _encoder(record: RunRecord) -> str:
    """The layer type of the model that was measured."""
    trial = record.trials.get(record.pick)
    config = trial_config(record.config, trial.changes) if trial else record.config
    encoder = config.get("model", {}).get("encoder", {})
    both = ", both ways" if encoder.get("bidirectional") else ""
    return f"{str(encoder.get('type', '')).rpartition(':')[2]}{both}"


def _outcome(record: RunRecord, champions: set[str]) -> str:
    if record.status != "finished":
        return f"[yellow]{record.status}[/]"
    if record.served:
        number = record.served.rstrip("/").rpartition("/")[2]
        return f"[green]version {number}{', champion' if record.id in champions else ''}[/]"
    return "not pushed" if record.verdict else ""


def _champions(records: Sequence[RunRecord]) -> set[str]:
    """The ids of the runs whose model answers now, as the same version or, rolled back to, as a later one."""
    ids: set[str] = set()
    answering: dict[str, tuple[str, str]] = {}
    for record in records:
        if not record.served:
            continue
        base, _, number = record.served.rstrip("/").rpartition("/")
        if base not in answering:
            answering[base] = next(_newest(base), ("", ""))
        newest, digest = answering[base]
        if number == newest or (digest and digest == _digest(f"{base}/{number}")):
            ids.add(record.id)
    return ids


def _newest(base: str) -> Iterator[tuple[str, str]]:
    """Number and digest of the version that answers."""
    try:
        there = versions(files.resolve(base))
    except (OSError, UserError):  # the disk of another machine, or a store that does not answer
        return
    if there:
        yield str(max(there)), _digest(str(there[max(there)]))


def _digest(place: str) -> str:
    try:
        note = read_note(files.resolve(place))
    except (OSError, UserError):
        return ""
    return note.content.digest if note else ""


def _epochs(record: RunRecord) -> str:
    """How many epochs the training has, and whether this run did them."""
    if record.history:
        return str(int(record.history[-1]["epoch"]))
    reused = [node.summary["epochs"] for node in record.of() if "epochs" in node.summary]
    return f"{reused[-1]} (reused)" if reused else ""
