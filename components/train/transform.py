"""The train stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsSingleton
from filelock import FileLock, Timeout

from components.errors import UserError
from components.events import Warned, emit
from components.models.config import ModelConfig, readout_problem
from components.models.encoders import TfIdfEncoder
from components.strict import Task
from components.train.config import TrainConfig
from components.train.documents import CountDocuments, DocumentFrequencies


class Train(beam.PTransform):
    """Fits the model to the token shards; writes model.keras and history.json.

    Args:
        config: how to fit.
        model: what to fit.
        task: classification or seq2seq.
        seed: decides initial weights, dropout and the order of the examples.
        checkpoints: directory that outlives a killed run; the same for every attempt at the same work.
        output: directory to write into.

    Raises:
        UserError: the readout does not suit the model or the task.
    """

    def __init__(
        self, config: TrainConfig, model: ModelConfig, task: Task, seed: int, checkpoints: str, output: str
    ) -> None:
        super().__init__()
        if problem := readout_problem(model, task):
            raise UserError(f"model.readout: {problem}")
        self._config = config
        self._model = model
        self._task = task
        self._seed = seed
        self._checkpoints = checkpoints
        self._output = output
        self._fit = _Fit(config, model, task, seed, checkpoints, output)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": directory, ...} to {"epochs", "kept_epoch", "parameters", "loss", ...}."""
        if self._model.readout is not None:
            from components.train.readout import FitReadout

            return inputs | "readout" >> FitReadout(
                self._model,
                self._task,
                self._seed,
                self._config.batch_size,
                scratch=self._checkpoints,
                output=self._output,
            )
        frequencies = None
        if isinstance(self._model.encoder, TfIdfEncoder):
            counted = inputs | "terms" >> CountDocuments(self._model.encoder, self._task)
            frequencies = AsSingleton(counted)
        return inputs | "fit" >> beam.ParDo(self._fit, frequencies)


class _Fit(beam.DoFn):
    def __init__(
        self, config: TrainConfig, model: ModelConfig, task: Task, seed: int, checkpoints: str, output: str
    ) -> None:
        self._config = config
        self._model = model
        self._task = task
        self._seed = seed
        self._checkpoints = checkpoints
        self._output = output

    def process(
        self, inputs: dict[str, str], frequencies: DocumentFrequencies | None
    ) -> Iterator[dict[str, Any]]:
        Path(self._checkpoints).mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(Path(self._checkpoints) / "lock"))
        if not _acquired(lock, 0):
            emit(Warned("train", "another run is training this very model: waiting to take over its result"))
            while not _acquired(lock, 1):  # in short turns, so that an interrupt is heard
                pass
        try:
            yield self._train(inputs["tokenize"], frequencies)
        finally:
            lock.release()

    def _train(self, tokens: str, frequencies: DocumentFrequencies | None) -> dict[str, Any]:
        from components.train.checkpoint import Checkpoints
        from components.train.dataset import TokenData
        from components.train.loop import Trainer
        from components.train.start import new_model

        model = new_model(self._model, self._task, tokens, self._seed)
        if frequencies is not None:
            model.encoder.tfidf.set_document_frequencies(*frequencies)
        split = partial(
            TokenData,
            tokens,
            task=self._task,
            batch_size=self._config.batch_size,
            buckets=self._config.buckets,
        )
        trainer = Trainer(
            model,
            self._config,
            split("train"),
            split("validation"),
            self._seed,
            Checkpoints(self._checkpoints),
        )
        history = trainer.fit()
        output = Path(self._output)
        model.save(output / "model.keras")
        (output / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
        kept = history["best_epoch"] if self._config.early_stopping else len(history["epochs"])
        return {
            "epochs": len(history["epochs"]),
            "kept_epoch": kept,
            "parameters": model.count_params(),
            **{k: v for k, v in history["epochs"][kept - 1].items() if k not in ("epoch", "seconds")},
        }


def _acquired(lock: FileLock, timeout: float) -> bool:
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    return True
