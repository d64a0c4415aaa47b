"""A readout in closed form, as sums over any number of workers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import keras
import numpy as np
import tensorflow as tf
from apache_beam.pvalue import AsDict, AsSingleton
from apache_beam.utils.shared import Shared
from scipy.linalg import LinAlgError
from upath import UPath

from components.artifacts.artifact import FileRef, Reference, local_file
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import write_model
from components.errors import UserError
from components.models.config import ModelConfig, RidgeReadoutConfig
from components.reports import EpochFinished, Progress, Warned, emit
from components.strict import Split, Task
from components.train.dataset import part_batches
from components.train.result import result
from components.train.start import new_model
from components.work import Attempt, Made, Work
from layers.rnn.ridge_readout import RidgeFit, RidgeSums, fit_ridge

# Texts whose products are made at once: each sum costs as much as the products of a few hundred.
_PIECE = 4096
_SPLITS: tuple[Split, ...] = ("train", "validation")


class _Drawn(NamedTuple):
    """The model as it was drawn.

    Args:
        file: where it is.
        began: when, in seconds since 1970.
    """

    file: FileRef
    began: float


class FitReadout(beam.PTransform):
    """Fits the readout of a classifier that is fixed otherwise; makes a TrainedModel.

    One pass: the sums of the train split give a readout for each ridge, those of the validation split the
    error of each.

    Args:
        model: what to fit; its `readout` must be given.
        task: classification.
        seed: decides the fixed weights.
        batch_size: texts that are read together.
        work: of the node.
    """

    def __init__(self, model: ModelConfig, task: Task, seed: int, batch_size: int, work: Work) -> None:
        super().__init__()
        if model.readout is None:
            raise ValueError("FitReadout needs `readout` in the model's config. Received: readout=None")
        self._readout = model.readout
        self._model = model
        self._task = task
        self._seed = seed
        self._batch_size = batch_size
        self._work = work

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": reference, ...} to one Made; its summary has "ridge", "squared_error", ..."""
        drawn = AsSingleton(
            inputs | "draw" >> beam.Map(_draw, self._model, self._task, self._seed, self._work)
        )
        sums = (
            inputs
            | "find" >> beam.FlatMap(_find)
            | "spread" >> beam.Reshuffle()
            | "features" >> beam.ParDo(_Features(self._batch_size, self._work), drawn)
            | "sum" >> beam.CombinePerKey(SumRidge())
        )
        return inputs | "solve" >> beam.ParDo(_Solve(self._readout, self._work), drawn, AsDict(sums))


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


def _draw(inputs: dict[str, Reference], config: ModelConfig, task: Task, seed: int, work: Work) -> _Drawn:
    """Makes the model once, so that all workers compute with the same weights."""
    began = time.time()
    with work.attempt("draw") as attempt:
        model = new_model(config, task, Tokens.load(inputs["tokenize"]), seed)
        return _Drawn(write_model(attempt, model, "drawn.keras"), began)


def _find(inputs: dict[str, Reference]) -> list[tuple[Reference, Split, str]]:
    tokenized = inputs["tokenize"]
    tokens: Tokens = Tokens.load(tokenized)
    return [(tokenized, split, name) for split in _SPLITS for name in tokens.parts_of(split)]


class _Features(beam.DoFn):
    def __init__(self, batch_size: int, work: Work) -> None:
        self._batch_size = batch_size
        self._work = work
        self._shared = Shared()

    def process(
        self, part: tuple[Reference, Split, str], drawn: _Drawn
    ) -> Iterator[tuple[Split, tuple[np.ndarray, np.ndarray]]]:
        tokenized, split, name = part
        with self._work.attempt(f"reading {split}"):
            fixed = self._shared.acquire(
                lambda: _Fixed(_load(self._work.root, drawn.file)), tag=drawn.file.path
            )
            for piece in self._pieces(fixed, Tokens.load(tokenized), split, name):
                yield split, piece

    def _pieces(
        self, fixed: _Fixed, tokens: Tokens, split: Split, name: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        features, one_hot, done = [], [], 0
        for texts, labels, weights in part_batches(tokens, name, "classification", self._batch_size):
            known = weights.numpy() > 0
            features.append(_finite(fixed.features(texts).numpy()[known]))
            one_hot.append(np.eye(fixed.classes)[labels.numpy()[known]])
            done += len(known)
            emit(Progress("train", done, None, f"reading {split}"))
            if sum(map(len, features)) >= _PIECE:
                yield np.concatenate(features), np.concatenate(one_hot)
                features, one_hot = [], []
        if any(map(len, features)):
            yield np.concatenate(features), np.concatenate(one_hot)


def _finite(features: np.ndarray) -> np.ndarray:
    if not np.isfinite(features).all():
        raise UserError(
            "model.encoder: the states became infinite or no number; expected a reservoir that calms down. "
            "Lower spectral_radius or input_scaling, or set activation to tanh."
        )
    return features


class _Fixed:
    """What the readout reads, as a compiled function.

    Args:
        model: whose readout is to be fitted.
    """

    def __init__(self, model: keras.Model) -> None:
        self.classes = int(model.classes)
        self.features = tf.function(model.features, input_signature=[tf.TensorSpec([None, None], tf.int32)])


def _load(root: UPath, file: FileRef) -> keras.Model:
    return keras.models.load_model(local_file(root, file), compile=False)


class _Solve(beam.DoFn):
    def __init__(self, config: RidgeReadoutConfig, work: Work) -> None:
        self._config = config
        self._work = work

    def process(
        self, inputs: dict[str, Reference], drawn: _Drawn, sums: dict[Split, RidgeSums]
    ) -> Iterator[Made]:
        with self._work.attempt("solve") as attempt:
            made = self._solve(inputs["tokenize"].digests["vocabulary"], drawn, sums, attempt)
        yield made

    def _solve(self, vocabulary: str, drawn: _Drawn, sums: dict[Split, RidgeSums], attempt: Attempt) -> Made:
        emit(Progress("train", 0, 1, "solving"))
        validation = sums.get("validation")
        fit = self._fit(sums["train"], validation)
        metrics = {"squared_error": sums["train"].squared_error(fit.kernel, fit.bias)}
        if validation is not None:
            metrics["val_squared_error"] = min(fit.errors)
        seconds = time.time() - drawn.began
        model = _load(self._work.root, drawn.file)
        model.readout.set_weights([fit.kernel, fit.bias])
        history = {
            "epochs": [{"epoch": 1, **metrics, "seconds": seconds}],
            "best_epoch": 1,
            "ridge": fit.ridge,
            "alphas": [
                # JSON has no word for infinity, the error of a ridge that was too small.
                {"ridge": ridge, "squared_error": error if np.isfinite(error) else None}
                for ridge, error in zip(self._config.alphas, fit.errors, strict=True)
            ],
        }
        made = result(attempt, model, history, 1, vocabulary, ridge=fit.ridge)
        emit(EpochFinished("train", 1, 1, metrics, seconds))
        return made

    def _fit(self, train: RidgeSums, validation: RidgeSums | None) -> RidgeFit:
        alphas = self._config.alphas
        if validation is None and len(alphas) > 1:
            raise UserError(
                f"model.readout.alphas: received {len(alphas)} alphas and no validation split to choose by; "
                "expected one with labels that train has: name files for `validation` in ingest.files, or "
                "give a single ridge."
            )
        try:
            fit = fit_ridge(train, validation, alphas)
        except LinAlgError as error:
            raise UserError(
                f"model.readout.alphas: received {alphas}, expected one that is large enough for these "
                "features, which depend on each other or are more than the texts. Add a larger one."
            ) from error
        if len(alphas) > 1 and fit.ridge in (min(alphas), max(alphas)):
            direction = "smaller" if fit.ridge == min(alphas) else "larger"
            message = (
                f"the best ridge, {fit.ridge:g}, is at an end of model.readout.alphas: try {direction} ones"
            )
            emit(Warned("train", message))
        return fit
