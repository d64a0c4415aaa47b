"""A readout in closed form, as sums over any number of workers."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import keras
import numpy as np
import tensorflow as tf
from apache_beam.pvalue import AsDict, AsSingleton
from apache_beam.utils.shared import Shared
from scipy.linalg import LinAlgError

from components.errors import UserError
from components.events import EpochFinished, StageProgress, Warned, emit
from components.models.config import ModelConfig, RidgeReadoutConfig
from components.strict import Split, Task
from components.train.dataset import shard_batches, token_shards
from components.train.start import new_model
from layers.ridge_readout import RidgeSums, fit_ridge

# Texts whose products are made at once: each sum costs as much as the products of a few hundred.
_PIECE = 4096
_SPLITS: tuple[Split, ...] = ("train", "validation")


class FitReadout(beam.PTransform):
    """Fits the readout of a classifier that is fixed otherwise; writes model.keras and history.json.

    One pass: the sums of the train split give a readout for each ridge, those of the validation split the
    error of each.

    Args:
        model: what to fit; its `readout` must be given.
        task: classification.
        seed: decides the fixed weights.
        batch_size: texts that are read together.
        scratch: directory that all workers and all attempts share.
        output: directory to write into.
    """

    def __init__(
        self, model: ModelConfig, task: Task, seed: int, batch_size: int, scratch: str, output: str
    ) -> None:
        super().__init__()
        if model.readout is None:
            raise ValueError("FitReadout needs `readout` in the model's config. Received: readout=None")
        self._readout = model.readout
        self._model = model
        self._task = task
        self._seed = seed
        self._batch_size = batch_size
        self._scratch = scratch
        self._output = output

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": directory, ...} to {"parameters", "ridge", "squared_error", ...}."""
        drawn = AsSingleton(
            inputs | "draw" >> beam.Map(_draw, self._model, self._task, self._seed, self._scratch)
        )
        sums = (
            inputs
            | "find" >> beam.FlatMap(_find)
            | "spread" >> beam.Reshuffle()
            | "features" >> beam.ParDo(_Features(self._batch_size), drawn)
            | "sum" >> beam.CombinePerKey(SumRidge())
        )
        return inputs | "solve" >> beam.ParDo(_Solve(self._readout, self._output), drawn, AsDict(sums))


class SumRidge(beam.CombineFn):
    """Adds up pieces (features [B, D], one-hot labels [B, C]) to RidgeSums, in any order and sharding."""

    def create_accumulator(self, *args: object, **kwargs: object) -> RidgeSums | None:
        """Starts without knowing how many columns there will be."""
        return None

    def add_input(
        self, accumulator: RidgeSums | None, element: tuple[np.ndarray, np.ndarray], *args: object
    ) -> RidgeSums:
        """Takes one piece in."""
        piece = RidgeSums.of(*element)
        return piece if accumulator is None else accumulator + piece

    def merge_accumulators(self, accumulators: Iterable[RidgeSums | None], *args: object) -> RidgeSums | None:
        """Adds what several workers have."""
        total: RidgeSums | None = None
        for part in accumulators:
            if part is not None:
                total = part if total is None else total + part
        return total

    def extract_output(self, accumulator: RidgeSums | None, *args: object) -> RidgeSums | None:
        """Returns the sums; None of no pieces."""
        return accumulator


def _draw(inputs: dict[str, str], config: ModelConfig, task: Task, seed: int, scratch: str) -> dict[str, Any]:
    """Makes the model once, so that all workers compute with the same weights."""
    began = time.time()
    directory = Path(scratch)
    directory.mkdir(parents=True, exist_ok=True)
    staging, path = directory / f"{uuid.uuid4().hex}.keras", directory / "drawn.keras"
    new_model(config, task, inputs["tokenize"], seed).save(staging)
    os.replace(staging, path)
    return {"path": str(path), "began": began}


def _find(inputs: dict[str, str]) -> list[tuple[Split, str]]:
    return [(split, shard) for split in _SPLITS for shard in token_shards(inputs["tokenize"], split)]


class _Features(beam.DoFn):
    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._shared = Shared()

    def process(
        self, shard: tuple[Split, str], drawn: dict[str, Any]
    ) -> Iterator[tuple[Split, tuple[np.ndarray, np.ndarray]]]:
        split, path = shard
        fixed = self._shared.acquire(lambda: _Drawn(drawn["path"]), drawn["path"])
        features, one_hot, done = [], [], 0
        for tokens, labels, weights in shard_batches(path, "classification", self._batch_size):
            known = weights.numpy() > 0
            features.append(_finite(fixed.features(tokens).numpy()[known]))
            one_hot.append(np.eye(fixed.model.classes)[labels.numpy()[known]])
            done += len(known)
            emit(StageProgress("train", done, None, f"reading {split}"))
            if sum(map(len, features)) >= _PIECE:
                yield split, (np.concatenate(features), np.concatenate(one_hot))
                features, one_hot = [], []
        if any(map(len, features)):
            yield split, (np.concatenate(features), np.concatenate(one_hot))


def _finite(features: np.ndarray) -> np.ndarray:
    if not np.isfinite(features).all():
        raise UserError(
            "model.encoder: the states became infinite or no number; expected a reservoir that calms down. "
            "Lower spectral_radius or input_scaling, or set activation to tanh."
        )
    return features


class _Drawn:
    """The model whose readout is to be fitted, with its features as a compiled function."""

    def __init__(self, path: str) -> None:
        self.model = keras.models.load_model(path, compile=False)
        self.features = tf.function(
            self.model.features, input_signature=[tf.TensorSpec([None, None], tf.int32)]
        )


class _Solve(beam.DoFn):
    def __init__(self, config: RidgeReadoutConfig, output: str) -> None:
        self._config = config
        self._output = Path(output)

    def process(
        self, inputs: dict[str, str], drawn: dict[str, Any], sums: dict[Split, RidgeSums]
    ) -> Iterator[dict[str, Any]]:
        emit(StageProgress("train", 0, 1, "solving"))
        ridges = self._config.ridges
        validation = sums.get("validation")
        if validation is None and len(ridges) > 1:
            raise UserError(
                f"model.readout.ridges: received {len(ridges)} ridges and no validation split to choose by; "
                "expected one with labels that train has: name files for `validation` in ingest.files, or "
                "give a single ridge."
            )
        try:
            fit = fit_ridge(sums["train"], validation, ridges)
        except LinAlgError as error:
            raise UserError(
                f"model.readout.ridges: received {ridges}, expected one that is large enough for these "
                "features, which depend on each other or are more than the texts. Add a larger one."
            ) from error
        if len(ridges) > 1 and fit.ridge in (min(ridges), max(ridges)):
            direction = "smaller" if fit.ridge == min(ridges) else "larger"
            message = (
                f"the best ridge, {fit.ridge:g}, is at an end of model.readout.ridges: try {direction} ones"
            )
            emit(Warned("train", message))
        metrics = {"squared_error": sums["train"].squared_error(fit.kernel, fit.bias)}
        if validation is not None:
            metrics["val_squared_error"] = min(fit.errors)
        seconds = time.time() - drawn["began"]
        parameters = self._save(drawn["path"], fit.kernel, fit.bias)
        history = {
            "epochs": [{"epoch": 1, **metrics, "seconds": seconds}],
            "best_epoch": 1,
            "ridge": fit.ridge,
            "ridges": [
                # JSON has no word for infinity, the error of a ridge that was too small.
                {"ridge": ridge, "squared_error": error if np.isfinite(error) else None}
                for ridge, error in zip(ridges, fit.errors, strict=True)
            ],
        }
        (self._output / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
        emit(EpochFinished(1, 1, metrics, seconds))
        yield {"epochs": 1, "kept_epoch": 1, "parameters": parameters, "ridge": fit.ridge, **metrics}

    def _save(self, drawn: str, kernel: np.ndarray, bias: np.ndarray) -> int:
        model = _Drawn(drawn).model
        model.readout.set_weights([kernel, bias])
        model.save(self._output / "model.keras")
        return int(model.count_params())
