"""The export stage's artifact: the SavedModel that is served, and what was proved of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from upath import UPath

from components import files
from components.artifacts.artifact import Artifact, FileRef, digest_of
from components.errors import UserError
from components.work import Attempt

if TYPE_CHECKING:
    from components.strict import Strict

_MODEL = "model"
_VALIDATION = "validation.json"


class ModelId(NamedTuple):
    """The one name of a model: equal names answer equally.

    Args:
        weights: hash of the network's configuration, its vocabularies and its variables.
        decoding: hash of how answers are made of the network's output; see `decoding_hash`.
    """

    weights: str
    decoding: str

    def __str__(self) -> str:
        """Short, for people."""
        return f"{self.weights[:12]}-{self.decoding[:6]}"


def decoding_hash(decode: Strict | None, temperature: float = 1.0) -> str:
    """Returns the hash of how answers are made of the network's output.

    Args:
        decode: how they are searched for (seq2seq); None where nothing is searched for (classification).
        temperature: what the logits are divided by (classification); 1 changes no answer, and no hash.
    """
    settings = decode.model_dump(mode="json") if decode else {}
    if temperature != 1:
        settings["temperature"] = temperature
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class ExportedModel(Artifact):
    """The SavedModel, and the report of its validation."""

    stage = "export"
    parts: ClassVar = {"model": (f"{_MODEL}/",), "report": (_VALIDATION,)}
    published = (_VALIDATION,)

    @property
    def model_place(self) -> UPath:
        """Where the SavedModel's directory is, for people."""
        return self.place(f"{_MODEL}/saved_model.pb").parent

    @property
    def model_id(self) -> ModelId:
        """Which model it is, whatever libraries froze it."""
        noted: dict[str, Any] = self.summary["model"]
        return ModelId(noted["weights"], noted["decoding"])

    def model_files(self) -> dict[str, FileRef]:
        """Returns the files of the SavedModel, by their names in its directory."""
        return {
            name.removeprefix(f"{_MODEL}/"): self.manifest.files[name] for name in self.names(f"{_MODEL}/")
        }

    def saved_model(self) -> Path:
        """Returns a local directory with the SavedModel; do not write there.

        Raises:
            UserError: if a file is missing, or has another size.
        """
        return self.folder(_MODEL)

    def validation(self) -> dict[str, Any]:
        """Returns what the replay found; see components/export/validate.py."""
        report: dict[str, Any] = self.json(_VALIDATION)
        return report

    def thorough_damage(self) -> str:
        """Reads every file of the SavedModel; says which is not what was made, empty if all are."""
        try:
            directory = self.saved_model()
            for name in self.names(f"{_MODEL}/"):
                path = directory / name.removeprefix(f"{_MODEL}/")
                if files.sha256(path) != self.manifest.files[name].sha256:
                    return f"{path} is not what was written"
        except (UserError, FileNotFoundError) as error:
            return str(error)
        return ""


def model_digest(checksums: Mapping[str, str]) -> str:
    """Returns the digest that an artifact with these files would have.

    Args:
        checksums: SHA-256 by the name in the SavedModel's directory.
    """
    return digest_of(FileRef(f"{_MODEL}/{name}", "", 0, sha256) for name, sha256 in checksums.items())


def model_path(attempt: Attempt) -> Path:
    """Returns where an attempt writes the SavedModel, a directory."""
    return attempt.path(_MODEL)


def validation_path(attempt: Attempt) -> Path:
    """Returns where an attempt writes what the replay found."""
    return attempt.path(_VALIDATION)


def add_model(attempt: Attempt) -> tuple[FileRef, ...]:
    """Hands on what was written to both."""
    return (*attempt.add_folder(_MODEL), attempt.add(_VALIDATION))
