"""A store as it is at one moment, for plans of many nodes."""

from __future__ import annotations

from components import files
from components.artifacts.artifact import Artifact
from pipeline.store.store import Made, Store


class Glance(Store):
    """Lists every folder once, and reads the most recent manifests of a stage once, whatever it is asked.

    Args:
        store: that is looked at.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.root)
        self.fingerprints = store.fingerprints
        self._listed: dict[tuple[str, ...], frozenset[str]] = {}
        self._recent: dict[str, list[Artifact]] = {}

    def made(self, stage: str, key: str) -> list[Made]:
        """As of a store; folders of other keys than those listed are not looked at."""
        return super().made(stage, key) if key in self._names(stage) else []

    def known_digest(self, stage: str, part_key: str) -> str | None:
        """As of a store."""
        return super().known_digest(stage, part_key) if part_key in self._names(stage, "digests") else None

    def recent(self, kind: type[Artifact]) -> list[Artifact]:
        """As of a store."""
        if kind.stage not in self._recent:
            self._recent[kind.stage] = super().recent(kind)
        return self._recent[kind.stage]

    def _names(self, *folder: str) -> frozenset[str]:
        if folder not in self._listed:
            self._listed[folder] = frozenset(files.names(self.root.joinpath("artifacts", *folder)))
        return self._listed[folder]
