"""The train stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsSingleton
from upath import UPath

from components import files
from components.artifacts.artifact import Reference, inputs_hash, manifest_path
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import checkpoint_folder
from components.errors import UserError
from components.heartbeat import Heartbeat, is_beating
from components.models.config import ModelConfig, readout_problem
from components.reports import Warned, emit
from components.strict import Task
from components.train.adapt import Summarize
from components.train.config import TrainConfig
from components.work import Attempt, Made, Work

_READ = ("vocabulary", "train", "validation")  # parts of the tokenize artifact
_PATIENCE = 1.0  # seconds between two looks at another's work: short, so that an interrupt is heard


class Train(beam.PTransform):
    """Fits the model to the tokens; makes a TrainedModel.

    Args:
        config: how to fit.
        model: what to fit.
        task: classification or seq2seq.
        seed: decides initial weights, dropout and the order of the examples.
        work: of this node.

    Raises:
        UserError: the readout does not suit the model or the task.
    """

    def __init__(self, config: TrainConfig, model: ModelConfig, task: Task, seed: int, work: Work) -> None:
        super().__init__()
        if problem := readout_problem(model, task):
            raise UserError(f"model.readout: {problem}")
        self._config = config
        self._model = model
        self._task = task
        self._seed = seed
        self._work = work

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": reference, ...} to one Made; its summary has "epochs", "loss", "weights", ..."""
        if self._model.readout is not None:
            from components.train.readout import FitReadout

            fit = FitReadout(self._model, self._task, self._seed, self._config.batch_size, self._work)
            return inputs | "readout" >> fit
        summary = None
        if self._model.encoder.adapts:
            summarize = Summarize(self._model.encoder, self._task, self._work)
            summary = AsSingleton(inputs | "summarize" >> summarize)
        fit = _Fit(self._config, self._model, self._task, self._seed, self._work)
        return inputs | "fit" >> beam.ParDo(fit, summary)


class _Fit(beam.DoFn):
    def __init__(self, config: TrainConfig, model: ModelConfig, task: Task, seed: int, work: Work) -> None:
        self._config = config
        self._model = model
        self._task = task
        self._seed = seed
        self._work = work

    def process(self, inputs: dict[str, Reference], summary: Any) -> Iterator[Made]:
        tokenized = inputs["tokenize"]
        read = inputs_hash({f"{tokenized.stage} {part}": tokenized.digests[part] for part in _READ})
        folder = checkpoint_folder(self._work, read)
        manifest = manifest_path(self._work.root, self._work.stage, self._work.key, read, self._work.number)
        with self._work.attempt("fit") as attempt:
            _wait(folder / "heartbeat", manifest, attempt.id)
            with Heartbeat(folder / "heartbeat", name=attempt.id):
                made = self._train(tokenized, summary, folder, attempt)
        yield made

    def _train(self, tokenized: Reference, summary: Any, folder: UPath, attempt: Attempt) -> Made:
        from components.train.checkpoint import Checkpoints
        from components.train.dataset import TokenData
        from components.train.loop import Trainer
        from components.train.result import result
        from components.train.start import new_model

        config, tokens = self._config, Tokens.load(tokenized)
        model = new_model(self._model, self._task, tokens, self._seed)
        if summary is not None:
            self._model.encoder.adapt(model.encoder, summary)
        split = partial(
            TokenData, tokens, task=self._task, batch_size=config.batch_size, buckets=config.length_buckets
        )
        checkpoints = Checkpoints(self._work.root, folder, attempt.id)
        trainer = Trainer(model, config, split("train"), split("validation"), self._seed, checkpoints)
        history = trainer.fit()
        kept = history["best_epoch"] if config.early_stopping else len(history["epochs"])
        return result(attempt, model, history, kept, tokenized.digests["vocabulary"], checkpoints.newest)


def _wait(heartbeat: UPath, manifest: UPath, attempt: str) -> None:
    """Waits while another attempt is at this very training; its last checkpoint saves the work then."""
    if not is_beating(heartbeat, others_than=attempt):
        return
    emit(Warned("train", "another run is training this very model: waiting for its result"))
    while is_beating(heartbeat, others_than=attempt) and not files.exists(manifest):
        time.sleep(_PATIENCE)
