"""What is known of a run: its record, and the artifacts it made or reused."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from upath import UPath

from components import files, own_files
from components.artifacts.artifact import Artifact, artifact_folder
from components.artifacts.evaluation import Evaluation
from components.artifacts.examples import REJECTED, Examples
from components.artifacts.exported_model import ExportedModel
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from components.redaction import redacted
from pipeline.config import flatten
from pipeline.config.places import root_of
from pipeline.run.folder import RunFolder, folder_named, run_folders
from pipeline.run.observe import Observer
from pipeline.run.record import DONE, NodeRecord, RunRecord
from pipeline.stages import stage_named
from pipeline.store.store import Store

if TYPE_CHECKING:
    from components.evaluate.measured import Measured

Kind = TypeVar("Kind", bound=Artifact)


@dataclass(frozen=True)
class RunFacts:
    """A run and its artifacts, as far as they are there and whole.

    Args:
        record: what the observer knows of it.
        store: where the artifacts are.
        artifacts: by the names of the nodes that made or reused them.
    """

    record: RunRecord
    store: Store
    artifacts: Mapping[str, Artifact]

    @classmethod
    def of(cls, record: RunRecord, store: Store) -> RunFacts:
        """Loads the artifacts."""
        loaded = {name: _load(node, store) for name, node in record.nodes.items()}
        return cls(record, store, {name: artifact for name, artifact in loaded.items() if artifact})

    @property
    def examples(self) -> Examples | None:
        """The artifact of ingest."""
        return self._artifact(Examples)

    @property
    def tokens(self) -> Tokens | None:
        """The artifact of tokenize."""
        return self._artifact(Tokens)

    @property
    def trained(self) -> TrainedModel | None:
        """The artifact of train."""
        return self._artifact(TrainedModel)

    @property
    def evaluation(self) -> Evaluation | None:
        """The artifact of evaluate, of the run's own model."""
        return self._artifact(Evaluation)

    @property
    def exported(self) -> ExportedModel | None:
        """The artifact of export."""
        return self._artifact(ExportedModel)

    @property
    def candidates(self) -> dict[str, Evaluation]:
        """What else was measured, by the names of the nodes."""
        return {
            name: artifact
            for name, artifact in self.artifacts.items()
            if isinstance(artifact, Evaluation) and not self.record.nodes[name].trials
        }

    def parameters(self) -> dict[str, Any]:
        """Returns the configuration, flat."""
        return flatten(redacted(self.record.config))

    def settled(self) -> dict[str, Any]:
        """Returns what was chosen by the data, flat, by the keys of the configuration."""
        tokenizers = self.tokens.summary.get("chosen", {}) if self.tokens else {}
        network = self.trained.summary.get("chosen", {}) if self.trained else {}
        chosen = {**{f"tokenize.{field}": entry for field, entry in tokenizers.items()}, **network}
        return flatten({section: entry["settings"] for section, entry in chosen.items()})

    def measured(self) -> Measured | None:
        """Reads what was measured; None if the run did not come to that, or its artifact is gone."""
        return measurements(self.evaluation) if self.evaluation else None

    def examples_digest(self) -> str:
        """Returns the digest of the examples that were evaluated; empty if none were."""
        return evaluated_examples(self.evaluation) if self.evaluation else ""

    def rejected(self) -> Iterator[dict[str, Any]]:
        """Yields the records that ingest rejected, also where it failed because of them."""
        if self.examples is not None:
            yield from self.examples.rejected()
            return
        node = self.record.node(Examples.stage)
        if node is None or node.state in DONE:
            return
        # Attempts of one key read the same data, so the rows of any that came so far are those of the run.
        folder = artifact_folder(self.store.root, Examples.stage, node.key)
        written = [entry for entry in files.entries(folder) if entry.path.name == REJECTED]
        if written:
            newest = max(written, key=lambda entry: entry.modified)
            with (
                contextlib.suppress(FileNotFoundError, ValueError),  # it was removed, or written half
                files.open_to_read(newest.path) as lines,
            ):
                for line in lines:
                    yield json.loads(line)

    def _artifact(self, kind: type[Kind]) -> Kind | None:
        node = self.record.node(kind.stage)
        artifact = self.artifacts.get(node.name) if node else None
        return artifact if isinstance(artifact, kind) else None


def _load(node: NodeRecord, store: Store) -> Artifact | None:
    """What a node made or reused; None if the run did not come to it, or it is not whole."""
    if node.reference is None or node.state not in DONE:
        return None
    try:
        artifact: Artifact = stage_named(node.stage).kind.load(node.reference)
    except UserError:
        return None
    if damaged := store.damage(artifact):
        own_files.name(own_files.DamagedError(artifact.reference.manifest, damaged))
        return None
    return artifact


def measurements(evaluation: Evaluation) -> Measured | None:
    """Reads what was measured; None if its files are gone."""
    try:
        return evaluation.measured()
    except UserError:  # what is remote is checked when it is opened
        return None


def evaluated_examples(evaluation: Evaluation) -> str:
    """Returns the digest of the examples that were evaluated; empty if its files are gone."""
    try:
        return evaluation.manifest.read[f"{Examples.stage} {evaluation.report()['split']}"]
    except UserError:
        return ""


def find_runs(
    root: str | os.PathLike[str] | UPath,
    names: Sequence[str] = (),
    newest: int = 5,
    pipeline: str | None = None,
) -> list[RunFacts]:
    """Returns runs in the order they are named, or the newest ones that were evaluated, oldest first.

    Args:
        root: the pipeline's root.
        names: ids, or parts of ids that only one run has.
        newest: how many, if none is named; all of one pipeline, as others measure other things.
        pipeline: its name; by default that of the newest run that was evaluated.

    Raises:
        UserError: if a name means no run or several, or there is none.
    """
    place = root_of(root)
    store = Store(place)
    folders = run_folders(place)
    if not folders:
        raise UserError(f"No runs under {root}. Start one with `rnnpipe run`, or name another --root.")
    if not names:
        return _newest(folders, store, newest, pipeline)
    found = (_read(folder_named(folders, name, root), store) for name in names)
    return [facts for facts in found if facts is not None]


def _newest(folders: Sequence[RunFolder], store: Store, count: int, pipeline: str | None) -> list[RunFacts]:
    newest_first: list[RunFacts] = []
    others: set[str] = set()
    for folder in reversed(folders):
        record = Observer(folder, store).record()
        if record is None or not record.metrics:
            continue
        pipeline = pipeline or record.name
        if record.name == pipeline:
            newest_first.append(RunFacts.of(record, store))
        others.add(record.name)
        if len(newest_first) == count:
            break
    if not newest_first and others:
        raise UserError(
            f"received --name {pipeline}, of which no run was evaluated; expected one of "
            f"{', '.join(sorted(others))}."
        )
    return newest_first[::-1]


def _read(folder: RunFolder, store: Store) -> RunFacts | None:
    record = Observer(folder, store).record()
    return None if record is None else RunFacts.of(record, store)
