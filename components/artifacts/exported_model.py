"""The export stage's artifact: the SavedModel that is served, and what was proved of it."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from components.artifacts.artifact import Artifact


class ModelId(NamedTuple):
    """The one name of a model: equal names answer equally.

    Args:
        weights: hash of the network's configuration, its vocabularies and its variables.
        decoding: hash of how answers are searched for.
    """

    weights: str
    decoding: str

    def __str__(self) -> str:
        """Short, for people."""
        return f"{self.weights[:12]}-{self.decoding[:6]}"


class ExportedModel(Artifact):
    """The SavedModel, and the report of its validation."""

    stage = "export"
    parts: ClassVar = {"model": ("model/",), "report": ("validation.json",)}

    @property
    def model_id(self) -> ModelId:
        """Which model it is, whatever libraries froze it."""
        noted: dict[str, Any] = self.summary["model"]
        return ModelId(noted["weights"], noted["decoding"])
