"""A readout in closed form, as sums over any number of workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

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
from components.models.config import RidgeReadoutConfig
from components.out_of_memory import naming_batch_size
from components.reports import EpochFinished, Progress, Warned, emit
from components.strict import Split
from components.train.class_weight import label_weights
from components.train.dataset import part_batches
from components.train.devices import device_facts, warn_of_unseen_gpus
from components.train.network import built
from components.train.result import result
from components.train.start import new_model
from components.train.vectors import put_vectors
from components.work import Attempt, Made, Work
from layers.rnn.ridge_readout import RidgeFit, RidgeSums, fit_ridge

if TYPE_CHECKING:
    from components.train.transform import Trial

# Texts whose products are made at once: each sum costs as much as the products of a few hundred.
_PIECE = 4096
_SPLITS: tuple[Split, ...] = ("train", "validation")

_Piece = tuple[np.ndarray, np.ndarray, np.ndarray | None]


class _Drawn(NamedTuple):
    """The model as it was drawn.

    Args:
        file: where it is.
        began: when, in seconds since 1970.
        needed: bytes that the fit takes at the least.
        weights: of the labels, by number; None where all count the same.
        facts: for the summary.
    """

    file: FileRef
    began: float
    needed: int
    weights: np.ndarray | None
    facts: dict[str, Any]


class FitReadout(beam.PTransform):
    """Fits the readout of a classifier that is fixed otherwise; makes a TrainedModel.

    One pass: the sums of the train split give a readout for each ridge, those of the validation split the
    error of each.

    Args:
        trial: what is fitted; its model must have a `readout`.
    """

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self._trial = trial

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": reference, ...} to one Made; its summary has "ridge", "squared_error", ..."""
        trial = self._trial
        drawn = AsSingleton(inputs | "draw" >> beam.Map(_draw, trial))
        sums = (
            inputs
            | "find" >> beam.FlatMap(_find)
            | "spread" >> beam.Reshuffle()
            | "features" >> beam.ParDo(_Features(trial.config.batch_size, trial.work), drawn)
            | "sum" >> beam.CombinePerKey(SumRidge())
        )
        return inputs | "solve" >> beam.ParDo(_Solve(trial), drawn, AsDict(sums))


def fit_readout_here(trial: Trial, inputs: dict[str, Reference], admit: Callable[[int], None]) -> Made:
    """Does in this process what `FitReadout` does: many trials are parallel by themselves.

    Args:
        trial: what is fitted; its model must have a `readout`.
        inputs: what the stage reads.
        admit: as in `train_here`.
    """
    drawn = _draw(inputs, trial)
    admit(drawn.needed)
    features = _Features(trial.config.batch_size, trial.work)
    sums: dict[Split, RidgeSums] = {}
    for part in _find(inputs):
        for split, piece in features.process(part, drawn):
            added = _sums(piece)
            sums[split] = sums[split] + added if split in sums else added
    (made,) = _Solve(trial).process(inputs, drawn, sums)
    return made


class SumRidge(beam.CombineFn):
    """Adds up pieces to RidgeSums, in any order and sharding.

    A piece is (features [B, D], one-hot labels [B, C], weights [B] or None).
    """

    def create_accumulator(self, *args: object, **kwargs: object) -> RidgeSums | None:
        """Starts without knowing how many columns there will be."""
        return None

    def add_input(self, accumulator: RidgeSums | None, element: _Piece, *args: object) -> RidgeSums:
        """Takes one piece in."""
        piece = _sums(element)
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


def _sums(piece: _Piece) -> RidgeSums:
    features, targets, weights = piece
    return RidgeSums.of(features, targets, weights=weights)


def _draw(inputs: dict[str, Reference], trial: Trial) -> _Drawn:
    """Makes the model once, so that all workers compute with the same weights."""
    began = time.time()
    with trial.work.attempt("draw") as attempt:
        warn_of_unseen_gpus()
        tokens: Tokens = Tokens.load(inputs["tokenize"])
        weights = label_weights(trial.config.class_weight, tokens)
        network, _ = built(trial.model, trial.task, tokens, trial.vectors)
        model = new_model(network, trial.task, tokens, trial.seed)
        facts = {}
        if trial.vectors is not None:
            facts["vectors"] = put_vectors(model, trial.task, tokens, trial.vectors)
        width = int(model.readout.kernel.shape[0])
        # Sums of both splits, and what the solver copies; beside them the pieces.
        needed = 8 * (5 * width * width + 2 * _PIECE * width)
        return _Drawn(write_model(attempt, model, "drawn.keras"), began, needed, weights, facts)


def _find(inputs: dict[str, Reference]) -> list[tuple[Reference, Split, str]]:
    tokenized = inputs["tokenize"]
    tokens: Tokens = Tokens.load(tokenized)
    return [(tokenized, split, name) for split in _SPLITS for name in tokens.parts_of(split)]


class _Features(beam.DoFn):
    def __init__(self, batch_size: int, work: Work) -> None:
        self._batch_size = batch_size
        self._work = work
        self._shared = Shared()

    def process(self, part: tuple[Reference, Split, str], drawn: _Drawn) -> Iterator[tuple[Split, _Piece]]:
        tokenized, split, name = part
        with (
            self._work.attempt(f"reading {split}"),
            naming_batch_size("train.batch_size", self._batch_size, "model.encoder.units"),
        ):
            fixed = self._shared.acquire(
                lambda: _Fixed(_load(self._work.root, drawn.file)), tag=drawn.file.path
            )
            # What is chosen on the validation split is chosen without weights.
            of_labels = drawn.weights if split == "train" else None
            for features, numbers in self._pieces(fixed, Tokens.load(tokenized), split, name):
                weights = None if of_labels is None else of_labels[numbers]
                yield split, (features, np.eye(fixed.classes)[numbers], weights)

    def _pieces(
        self, fixed: _Fixed, tokens: Tokens, split: Split, name: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields features [B, D] and numbers of labels [B]."""
        features, numbers, done = [], [], 0
        for texts, labels, weights in part_batches(tokens, name, "classification", self._batch_size):
            known = weights.numpy() > 0
            features.append(_finite(fixed.features(texts).numpy()[known]))
            numbers.append(labels.numpy()[known])
            done += len(known)
            emit(Progress("train", done, None, f"reading {split}"))
            if sum(map(len, features)) >= _PIECE:
                yield np.concatenate(features), np.concatenate(numbers)
                features, numbers = [], []
        if any(map(len, features)):
            yield np.concatenate(features), np.concatenate(numbers)


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
    def __init__(self, trial: Trial) -> None:
        readout = trial.model.readout
        if readout is None:
            raise ValueError("FitReadout needs `readout` in the model's config. Received: readout=None")
        self._config: RidgeReadoutConfig = readout
        self._monitored = trial.config.monitored
        self._measuring = trial.measuring
        self._work = trial.work

    def process(
        self, inputs: dict[str, Reference], drawn: _Drawn, sums: dict[Split, RidgeSums]
    ) -> Iterator[Made]:
        with self._work.attempt("solve") as attempt:
            made = self._solve(inputs, drawn, sums, attempt)
        yield made

    def _solve(
        self, inputs: dict[str, Reference], drawn: _Drawn, sums: dict[Split, RidgeSums], attempt: Attempt
    ) -> Made:
        emit(Progress("train", 0, 1, "solving"))
        validation = sums.get("validation")
        fit = self._fit(sums["train"], validation)
        metrics = {"squared_error": sums["train"].squared_error(fit.kernel, fit.bias)}
        if validation is not None:
            metrics["val_squared_error"] = min(fit.errors)
        model = _load(self._work.root, drawn.file)
        model.readout.set_weights([fit.kernel, fit.bias])
        if self._measuring is not None:
            metrics[f"val_{self._monitored}"] = self._measuring(model, inputs)()
        seconds = time.time() - drawn.began
        vocabulary = inputs["tokenize"].digests["vocabulary"]
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
        made = result(
            attempt, model, history, 1, vocabulary, ridge=fit.ridge, **drawn.facts, **device_facts()
        )
        emit(EpochFinished("train", 1, 1, metrics, seconds))
        return replace(made, seconds=time.time() - drawn.began)

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
