"""Epochs: fitting, validation, early stopping, and going on where a killed run stood."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.errors import UserError
from components.reports import EpochFinished, Progress, Warned, emit
from components.train.checkpoint import Checkpoints, State
from components.train.config import TrainConfig
from components.train.dataset import TokenData
from components.train.losses import CrossEntropy
from components.train.sampling import TeacherForcing


def compile_model(model: keras.Model, config: TrainConfig, steps: int, seed: int = 0) -> CrossEntropy:
    """Sets optimizer, masked loss and masked accuracy, and for a Seq2Seq scheduled sampling.

    The loss of a batch is the mean over its real tokens (or labelled texts); padding has weight 0, and a
    batch of nothing but padding has loss 0.

    Args:
        model: returns logits.
        config: optimizer, schedules, loss and clipping.
        steps: batches in all epochs together, the length of the schedules.
        seed: decides which tokens scheduled sampling takes from the model.

    Returns:
        The loss.
    """
    settings = config.optimizer.model_dump(exclude={"type"})
    if config.learning_rate_schedule == "cosine":
        settings["learning_rate"] = keras.optimizers.schedules.CosineDecay(
            config.optimizer.learning_rate, decay_steps=steps
        )
    optimizer = keras.optimizers.get(
        {
            "class_name": config.optimizer.type,
            # Otherwise Keras counts the optimizers of a process, and equal models have different files.
            "config": {**settings, "global_clipnorm": config.global_clipnorm, "name": config.optimizer.type},
        }
    )
    loss = CrossEntropy(config.label_smoothing)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # "auto" would compile again for every padded length.
        jit_compile=False,
    )
    optimizer.build(model.trainable_variables)
    if config.teacher_forcing_ratio != 1.0:
        model.draw_forced = TeacherForcing(config.teacher_forcing_ratio, steps, optimizer, seed)
    return loss


class Trainer:
    """Fits one model, epoch by epoch.

    Args:
        model: built; `compile_model` is called on it.
        config: how to fit.
        train: the split to fit.
        validation: the split to watch.
        seed: decides the order of the examples, epoch by epoch.
        checkpoints: where the state is kept after each epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        config: TrainConfig,
        train: TokenData,
        validation: TokenData,
        seed: int,
        checkpoints: Checkpoints,
    ) -> None:
        self.model = model
        self.config = config
        self.train = train
        self.validation = validation
        self.seed = seed
        self.checkpoints = checkpoints
        self.boundaries = train.boundaries()
        self.steps = train.steps(self.boundaries)
        self.loss = compile_model(model, config, steps=self.steps * config.epochs, seed=seed)

    def fit(self) -> dict[str, Any]:
        """Trains until the last epoch or until early stopping.

        Returns:
            The history: {"epochs": [{"epoch", "loss", "val_loss", ..., "seconds"}], "best_epoch"}.

        Raises:
            UserError: if the loss is no longer a number.
        """
        best, history = self._begin()
        watched = self.validation.batches(self.boundaries) if len(self.validation.lengths) else None
        progress = _Progress(self.steps, self.config.epochs)
        while len(history["epochs"]) < self.config.epochs and not self._stopped(history):
            epoch = len(history["epochs"]) + 1
            progress.epoch = epoch
            metrics = self._run_epoch(epoch, watched, progress)
            history["epochs"].append({"epoch": epoch, **metrics})
            if self._improved(history):
                history["best_epoch"] = epoch
                best = self.model.get_weights() if self.config.early_stopping else None
            self.checkpoints.save(self.model, State(best, history))
            emit(EpochFinished("train", epoch, self.config.epochs, metrics, metrics["seconds"]))
        if self.checkpoints.newest is None:  # the last one is another attempt's, which may remove it
            self.checkpoints.save(self.model, State(best, history))
        if best is not None:
            self.model.set_weights(best)
        return history

    def _begin(self) -> State:
        """Goes on where an earlier attempt stood, or starts."""
        state = self.checkpoints.restore(self.model, self.config.epochs)
        if state is None:
            return State(None, {"epochs": [], "best_epoch": 0})
        emit(Warned("train", f"going on after epoch {len(state.history['epochs'])} of an earlier run"))
        return state

    def _run_epoch(
        self, epoch: int, watched: tf.data.Dataset | None, progress: _Progress
    ) -> dict[str, float]:
        began = time.monotonic()
        order = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        batches = self.train.batches(self.boundaries, seed=order, shuffle_buffer=self.config.shuffle_buffer)
        fitted = self.model.fit(batches, verbose=0, shuffle=False, callbacks=[progress])
        metrics = {name: float(values[0]) for name, values in fitted.history.items()}
        if watched is not None:
            with self.loss.unsmoothed():
                values = self.model.evaluate(watched, verbose=0, return_dict=True)
            metrics |= {f"val_{name}": float(value) for name, value in values.items()}
        if not np.isfinite(metrics["loss"]):
            raise UserError(
                f"The training loss became {metrics['loss']} in epoch {epoch}; expected a finite number. "
                f"Lower train.optimizer.learning_rate (now {self.config.optimizer.learning_rate}) or set "
                f"train.global_clipnorm (now {self.config.global_clipnorm})."
            )
        return {**metrics, "seconds": time.monotonic() - began}

    def _watched(self, history: dict[str, Any]) -> list[float]:
        return [epoch.get("val_loss", epoch["loss"]) for epoch in history["epochs"]]

    def _improved(self, history: dict[str, Any]) -> bool:
        if not history["best_epoch"]:
            return True
        losses = self._watched(history)
        smallest = self.config.early_stopping.min_delta if self.config.early_stopping else 0.0
        return losses[-1] < losses[history["best_epoch"] - 1] - smallest

    def _stopped(self, history: dict[str, Any]) -> bool:
        stopping = self.config.early_stopping
        return stopping is not None and len(history["epochs"]) - history["best_epoch"] >= stopping.patience


class _Progress(keras.callbacks.Callback):
    """Tells how far the training is, at most five times a second."""

    def __init__(self, steps: int, epochs: int) -> None:
        super().__init__()
        self.steps = steps
        self.epochs = epochs
        self.epoch = 1
        self._told = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        if now - self._told < 0.2:
            return
        self._told = now
        loss = (logs or {}).get("loss", float("nan"))
        done = (self.epoch - 1) * self.steps + batch + 1
        message = f"epoch {self.epoch}/{self.epochs}, loss {loss:.4f}"
        emit(Progress("train", done, self.epochs * self.steps, message))
