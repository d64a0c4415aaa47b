"""What a run's model is, and what became of it, in a few words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components import files
from components.errors import UserError
from pipeline.run.record import RunRecord
from pipeline.serving.versions import read_note, versions
from pipeline.sweep.changes import trial_config


def encoder_words(record: RunRecord) -> str:
    """Returns the layer type of the model that was measured, and whether it reads both ways."""
    trial = record.trials.get(record.pick)
    config = trial_config(record.config, trial.changes) if trial else record.config
    encoder = config.get("model", {}).get("encoder", {})
    both = ", both ways" if encoder.get("bidirectional") else ""
    return f"{str(encoder.get('type', '')).rpartition(':')[2]}{both}"


def outcomes(records: Sequence[RunRecord]) -> list[str]:
    """Returns what became of each run: `version 2, champion` if that answers now.

    Args:
        records: of the runs.
    """
    champions = _champions(records)
    return [_outcome(record, champions) for record in records]


def _outcome(record: RunRecord, champions: set[str]) -> str:
    if record.status != "finished":
        return record.status
    if record.served:
        number = record.served.rstrip("/").rpartition("/")[2]
        return f"version {number}{', champion' if record.id in champions else ''}"
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
