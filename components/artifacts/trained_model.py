"""The train stage's artifact: the fitted model, and how it got there."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from upath import UPath

from components.artifacts.artifact import Artifact, FileRef, artifact_folder
from components.work import Attempt, Work

if TYPE_CHECKING:
    import keras

MODEL = "model.keras"
HISTORY = "history.json"
CHECKPOINT = "checkpoint"
_CHECKPOINT_NAME = re.compile(r"(\d{5,})(?:\.(\d+))?-\w+\.ckpt")
CURVES = "plots/training_curves.png"

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can have


class TrainedModel(Artifact):
    """The Keras model, the history of its training, pictures of it, and the last checkpoint."""

    stage = "train"
    parts: ClassVar = {
        "model": (MODEL,),
        "history": (HISTORY, "plots/"),
        "checkpoint": (CHECKPOINT,),
    }
    published = (HISTORY,)

    def model_file(self) -> Path:
        """Returns a local path that `keras.models.load_model` takes."""
        return self.file(MODEL)

    def model_config(self) -> dict[str, Any]:
        """Returns the model's constructor arguments, without loading Keras; `config` is its ModelConfig."""
        with zipfile.ZipFile(self.model_file()) as archive:
            config: dict[str, Any] = json.loads(archive.read("config.json"))["config"]
        return config

    def history(self) -> dict[str, Any]:
        """Returns what the training was like.

        {"epochs": [{"epoch", "loss", ..., "val_loss", ..., "seconds"}], "best_epoch"}, and unless the readout
        was solved in closed form, "best_step", "steps_per_epoch" and "validations": [{"step", "epoch",
        "learning_rate", "loss", ..., "val_loss", ...}], of which the ones within an epoch have its means so
        far. The best ones are those by the monitored value. An epoch that early stopping ended holds the
        figures up to its end.
        """
        history: dict[str, Any] = self.json(HISTORY)
        return history


def checkpoint_name(epoch: int, attempt: str, steps: int = 0) -> str:
    """What an attempt calls its checkpoint.

    Args:
        epoch: how many are finished.
        attempt: whose it is.
        steps: of the next epoch that are done.
    """
    return f"{epoch:05d}{f'.{steps:07d}' if steps else ''}-{attempt}.ckpt"


def checkpoint_place(name: str) -> tuple[int, int] | None:
    """Returns the finished epochs and the steps of the next one; None if no checkpoint is called so."""
    match = _CHECKPOINT_NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def checkpoint_folder(work: Work, inputs: str) -> UPath:
    """Where the checkpoints of a training are, also those of one that ends after other epochs.

    Args:
        work: of the training's node.
        inputs: the hash of what was really read.
    """
    lineage = work.lineage or work.key
    return artifact_folder(work.root, TrainedModel.stage, "checkpoints") / lineage / f"{inputs}-{work.number}"


def weights_digest(model: keras.Model, vocabulary: str) -> str:
    """Hashes what decides a model's answers.

    Args:
        model: the network, whose configuration and weights count, not the names of its parts.
        vocabulary: digest of that part of the tokenize artifact.

    Returns:
        SHA-256 in hexadecimal.
    """
    config = {name: value for name, value in model.get_config().items() if name != "name"}
    described = [type(model).__name__, config, vocabulary]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for variable in model.weights:
        value = variable.numpy()
        digest.update(f"{value.dtype} {value.shape}\n".encode() + value.tobytes())
    return digest.hexdigest()


def write_model(attempt: Attempt, model: keras.Model, name: str = MODEL) -> FileRef:
    """Saves a model as Keras does, but without dates and drawn names: equal models give equal bytes.

    Args:
        attempt: whose file it is.
        model: whose name was given, not drawn.
        name: of the file; must end with .keras.
    """
    folder = attempt.scratch()
    saved, weights, plain = folder / "saved.keras", folder / "saved.h5", folder / "plain.h5"
    model.save(saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(attempt.path(name), "w") as new:
        for entry in old.infolist():
            if entry.filename == "metadata.json":
                metadata = json.loads(old.read(entry))
                del metadata["date_saved"]
                new.writestr(zipfile.ZipInfo(entry.filename, _EPOCH), json.dumps(metadata))
                continue
            if not entry.filename.endswith(".h5"):
                new.writestr(zipfile.ZipInfo(entry.filename, _EPOCH), old.read(entry))
                continue
            with old.open(entry) as source, weights.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            _without_names(weights, plain)
            info = zipfile.ZipInfo(entry.filename, _EPOCH)
            info.file_size = plain.stat().st_size  # decides whether the archive needs 64 bits
            with plain.open("rb") as source, new.open(info, "w") as target:
                shutil.copyfileobj(source, target)
    for path in (saved, weights, plain):
        path.unlink()
    return attempt.add(name)


def _without_names(source: Path, target: Path) -> None:
    """Copies the variables of a model. Beside them are names of layers, which Keras counts in a process."""
    import h5py

    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                new.require_group(name)
            else:
                old.copy(item, new, name)

        old.visititems(copy)


def write_history(attempt: Attempt, history: Mapping[str, Any]) -> FileRef:
    """Writes what `TrainedModel.history` reads."""
    return attempt.put(HISTORY, json.dumps(history, indent=1).encode())
