"""The state of a training after an epoch: complete, or not there."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import keras
import numpy as np


class Checkpoints:
    """Keeps the newest epoch's variables, the best epoch's weights and the history in a directory.

    An epoch is written under another name and renamed, so that a process killed at any moment leaves the
    last finished epoch whole.

    Args:
        directory: where; made when missing.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)

    def save(self, model: keras.Model, best: list[np.ndarray] | None, state: dict[str, Any]) -> None:
        """Writes the state after an epoch and then removes the one before.

        Args:
            model: compiled and built; its variables (with the states of its random generators) and its
                optimizer's are kept.
            best: the best epoch's weights, if they are kept.
            state: JSON-able; `state["epochs"]` has one entry for each finished epoch.
        """
        staging = self._directory / f".{uuid.uuid4().hex}"
        staging.mkdir()
        np.savez(staging / "variables.npz", *[variable.numpy() for variable in _variables(model)])
        if best is not None:
            np.savez(staging / "best.npz", *best)
        (staging / "state.json").write_text(json.dumps(state), encoding="utf-8")
        newest = self._directory / f"epoch-{len(state['epochs']):05d}"
        os.rename(staging, newest)
        for old in self._directory.iterdir():
            if old != newest and old.is_dir():
                shutil.rmtree(old, ignore_errors=True)

    def restore(self, model: keras.Model) -> tuple[list[np.ndarray] | None, dict[str, Any]] | None:
        """Puts the newest state back into the model and its optimizer.

        Args:
            model: compiled and built.

        Returns:
            The best epoch's weights and the state, as given to `save`; None if no epoch is finished.
        """
        finished = sorted(self._directory.glob("epoch-*"))
        if not finished:
            return None
        for variable, value in zip(_variables(model), _load(finished[-1] / "variables.npz"), strict=True):
            variable.assign(value)
        best = finished[-1] / "best.npz"
        state = json.loads((finished[-1] / "state.json").read_text(encoding="utf-8"))
        return _load(best) if best.exists() else None, state


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _load(path: Path) -> list[np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return [arrays[f"arr_{index}"] for index in range(len(arrays.files))]
