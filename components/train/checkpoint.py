"""The state of a training after a validation: one object with its checksum, whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from typing import Any, NamedTuple

import keras
import numpy as np
from upath import UPath

from components import files
from components.artifacts.artifact import FileRef
from components.artifacts.trained_model import CHECKPOINT, checkpoint_name, checkpoint_place
from components.reports import Warned, emit

_LISTS = ("epochs", "validations")  # of every history
_KEPT = 2  # of an attempt's own; others may be reading the last but one


class Running(NamedTuple):
    """Where in an epoch a training stands.

    Args:
        steps: of the epoch that are done.
        seconds: that they have taken.
        means: the variables of the model's metrics, which are the sums of the epoch so far.
    """

    steps: int
    seconds: float
    means: list[np.ndarray]


class State(NamedTuple):
    """What a training needs to know to go on.

    Args:
        best: the best checkpoint's weights, if they are kept.
        history: JSON-able; `history["epochs"]` has one entry for each finished epoch.
        running: where in the next epoch it stands; None at the end of an epoch.
        ended: whether the training was to end here, at its last epoch or at the stop of a rung.
        threads: on which its operations ran, at every attempt so far; see `devices.threads`.
    """

    best: list[np.ndarray] | None
    history: dict[str, Any]
    running: Running | None = None
    ended: bool = False
    threads: tuple[int, ...] = ()


class Checkpoints:
    """Keeps the state after each validation in a folder, which many attempts at a training may share.

    An object is a line with the SHA-256 of the rest, which is an npz archive: the variables of the model,
    with the states of its random generators, and of its optimizer, the best weights, within an epoch the
    variables of its metrics, and the history as JSON. It is put whole, under a name of this attempt. An
    attempt removes only its own.

    Args:
        root: under which all artifacts are.
        folder: where, below it.
        attempt: an id that no other attempt has.
    """

    def __init__(self, root: UPath, folder: UPath, attempt: str) -> None:
        self._root = root
        self._folder = folder
        self._attempt = attempt
        self._own: list[UPath] = []
        self.newest: FileRef | None = None
        """The last one that this attempt has put, as a file of its artifact."""

    def save(self, model: keras.Model, state: State) -> None:
        """Puts the state after a validation, and removes this attempt's old ones.

        Args:
            model: compiled and built.
            state: what else is to be known.
        """
        data = _packed(model, state)
        place = self._folder / checkpoint_name(
            len(state.history["epochs"]), self._attempt, state.running.steps if state.running else 0
        )
        files.write(place, data)
        self.newest = FileRef(
            CHECKPOINT,
            str(place.relative_to(self._root)),
            len(data),
            hashlib.sha256(data).hexdigest(),
            files.signature(place) if files.is_local(place) else "",
        )
        self._own.append(place)
        with contextlib.suppress(OSError):  # which costs space, and no more
            files.delete(self._own[:-_KEPT])
        self._own = self._own[-_KEPT:]

    def restore(self, model: keras.Model, epochs: int) -> State | None:
        """Puts the newest whole state, of whatever attempt, back into the model and its optimizer.

        What cannot be read, or is of another training, is passed over with a warning that names the file.

        Args:
            model: compiled and built.
            epochs: after which the training ends; what comes later is passed over.

        Returns:
            As given to `save`; None if there is none.
        """
        for place in self._found(epochs):
            try:
                values, state = _unpacked(files.read(place))
                _check_shapes(model, values)
            except FileNotFoundError:  # its attempt has gone on meanwhile
                continue
            except Exception as error:  # whatever NumPy's readers raise at what is no checkpoint
                emit(Warned("train", f"{place} is left out, and training goes back before it: {error}"))
                continue
            for variable, value in zip(_variables(model), values, strict=True):
                variable.assign(value)
            return state
        return None

    def _found(self, epochs: int) -> list[UPath]:
        """The checkpoints after at most so many epochs, the newest first."""
        named = [(checkpoint_place(entry.path.name), entry.path) for entry in files.entries(self._folder)]
        newest_first = sorted(((place, path.name, path) for place, path in named if place), reverse=True)
        return [path for (epoch, steps), _, path in newest_first if epoch + bool(steps) <= epochs]


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _check_shapes(model: keras.Model, values: list[np.ndarray]) -> None:
    """Checks all before any is assigned, so that a model never holds half of a state."""
    expected = [tuple(variable.shape) for variable in _variables(model)]
    if [value.shape for value in values] != expected:
        raise ValueError(
            f"it holds {len(values)} variables, not the {len(expected)} of this model and its shapes"
        )


def _packed(model: keras.Model, state: State) -> bytes:
    arrays = {f"variable_{i:05d}": variable.numpy() for i, variable in enumerate(_variables(model))}
    arrays |= {f"best_{i:05d}": values for i, values in enumerate(state.best or ())}
    running = state.running
    if running:
        arrays |= {f"mean_{i:05d}": mean for i, mean in enumerate(running.means)}
        arrays |= {"steps": np.asarray(running.steps), "seconds": np.asarray(running.seconds)}
    arrays |= {"ended": np.asarray(state.ended), "threads": np.asarray(state.threads, np.int64)}
    arrays["history"] = np.frombuffer(json.dumps(state.history).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    packed = buffer.getbuffer()
    return b"".join((hashlib.sha256(packed).hexdigest().encode(), b"\n", packed))


def _unpacked(data: bytes) -> tuple[list[np.ndarray], State]:
    checksum, _, packed = data.partition(b"\n")
    actual = hashlib.sha256(packed).hexdigest()
    if actual.encode() != checksum:
        raise ValueError(
            f"it is damaged: its checksum is {actual[:12]}, not {checksum[:12].decode(errors='replace')}"
        )
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        names = sorted(arrays.files)
        variables, best, means = (
            [arrays[name] for name in names if name.startswith(kind)]
            for kind in ("variable_", "best_", "mean_")
        )
        running = Running(int(arrays["steps"]), float(arrays["seconds"]), means) if means else None
        history = json.loads(arrays["history"].tobytes())
        ended = "ended" in names and bool(arrays["ended"])  # which an earlier version did not note
        threads = tuple(arrays["threads"].tolist()) if "threads" in names else ()
    if not isinstance(history, dict) or not all(isinstance(history.get(key), list) for key in _LISTS):
        raise ValueError("it holds no history of a training")
    return variables, State(best or None, history, running, ended, threads)
