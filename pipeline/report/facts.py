"""What is known of a run: its record, and the artifacts it made or reused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import UserError
from pipeline.config import flatten
from pipeline.run.record import RunRecord, read_records
from pipeline.store.store import Artifact, Store

if TYPE_CHECKING:
    from components.evaluate.measured import Measured


@dataclass(frozen=True)
class RunFacts:
    """A run and its artifacts.

    Args:
        record: as the run wrote it.
        store: where the artifacts are.
    """

    record: RunRecord
    store: Store

    @cached_property
    def artifacts(self) -> dict[str, Artifact]:
        """By stage, those that it made or reused and that are there."""
        found = {
            name: self.store.find(name, stage["key"])
            for name, stage in self.record.stages.items()
            if stage["state"] in ("finished", "reused")
        }
        return {name: artifact for name, artifact in found.items() if artifact is not None}

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The configuration, flat."""
        return flatten(self.record.config)

    @cached_property
    def measured(self) -> Measured | None:
        """What was measured; None if the run did not come to that, or its artifact is gone."""
        from components.evaluate.measured import read_measured

        artifact = self.artifacts.get("evaluate")
        if artifact is None or "resampled.npy" not in artifact.files or artifact.damage():
            return None
        return read_measured(artifact.directory)

    @property
    def examples_key(self) -> str:
        """Tells the examples that were evaluated from others."""
        artifact = self.artifacts.get("evaluate")
        return artifact.ingredients["upstream ingest"] if artifact else ""

    def path(self, stage: str, name: str) -> Path | None:
        """Returns a file of a stage's artifact, or of its attempt at one; None if it is not there."""
        artifact = self.artifacts.get(stage)
        attempt = self.record.stages.get(stage, {}).get("directory")
        directory = artifact.directory if artifact else Path(attempt) if attempt else None
        return directory / name if directory and (directory / name).is_file() else None

    def read(self, stage: str, name: str) -> Any:
        """Returns a JSON file of a stage, as `path` finds it; None if it is not there."""
        path = self.path(stage, name)
        return json.loads(path.read_text(encoding="utf-8")) if path else None

    def rows(self, stage: str, name: str) -> Iterator[dict[str, Any]]:
        """Yields the rows of a file of JSON lines, as `path` finds it; none if it is not there."""
        if path := self.path(stage, name):
            with path.open(encoding="utf-8") as lines:
                yield from map(json.loads, lines)


def find_runs(root: Path, names: Sequence[str] = (), newest: int = 5) -> list[RunFacts]:
    """Returns runs in the order they are named, or the newest ones that were evaluated, oldest first.

    Args:
        root: the pipeline's root.
        names: ids, or parts of ids that only one run has.
        newest: how many, if none is named.

    Raises:
        UserError: if a name means no run or several, or there is none.
    """
    records = read_records(root)
    store = Store(root)
    if not records:
        raise UserError(f"No runs under {root}. Start one with `rnnpipe run`, or name another --root.")
    if not names:
        return [RunFacts(record, store) for record in records if record.metrics][-newest:]
    found = []
    for name in names:
        matches = [record for record in records if record.id == name] or [
            record for record in records if name in record.id
        ]
        if len(matches) != 1:
            known = ", ".join(record.id for record in (matches or records)[-5:])
            problem = f"is part of {len(matches)} runs" if matches else "is no run"
            raise UserError(
                f"{name} {problem} under {root}; expected an id, or enough of it, such as {known}. "
                "`rnnpipe runs` lists all."
            )
        found.append(RunFacts(matches[0], store))
    return found
