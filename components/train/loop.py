"""Epochs: fitting, validation, early stopping, and going on where a killed run stood."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.errors import UserError
from components.reports import EpochFinished, Warned, emit
from components.train.accuracy import Accuracy
from components.train.checkpoint import Checkpoints, Running, State
from components.train.config import TrainConfig
from components.train.dataset import TokenData
from components.train.devices import threads
from components.train.losses import CrossEntropy, training_loss
from components.train.mirrored import mirror, spread_seeds
from components.train.monitor import best_validation, is_stopped, monitored_value
from components.train.optimizers import make_optimizer
from components.train.progress import TrainingProgress
from components.train.sampling import TeacherForcing
from components.train.schedule_config import Plateau
from components.train.schedules import reduce_on_plateau
from components.train.validation import Validation


def compile_model(model: keras.Model, config: TrainConfig, steps: int, seed: int = 0) -> CrossEntropy:
    """Sets optimizer, masked loss and masked accuracy, and for a Seq2Seq scheduled sampling.

    The loss of a batch is the weighted mean over its real tokens (or labelled texts); padding has weight 0,
    and a batch of nothing but padding has loss 0. Of the accuracy all that have a weight count the same.

    Args:
        model: returns logits.
        config: optimizer, schedules, loss and clipping.
        steps: batches in all epochs together, the length of the schedules.
        seed: decides which tokens scheduled sampling takes from the model.

    Returns:
        The loss.

    Raises:
        UserError: if the learning rate's schedule does not fit the number of steps.
    """
    optimizer = make_optimizer(config, model, steps)
    loss = training_loss(config)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=[Accuracy(name="accuracy")],
        # "auto" would compile again for every padded length.
        jit_compile=False,
    )
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
        checkpoints: where the state is kept after each validation.
        measure: measures `config.monitored` on the validation split; None for the loss.
        strategy: in whose scope the model was made; by default that of one device.
        stop: the epoch after which it stops, as if it had been cut short there; 0 for `config.epochs`.

    Raises:
        UserError: if `config` needs a validation split, and there is none.
    """

    def __init__(
        self,
        model: keras.Model,
        config: TrainConfig,
        train: TokenData,
        validation: TokenData,
        seed: int,
        checkpoints: Checkpoints,
        measure: Callable[[], float] | None = None,
        strategy: tf.distribute.Strategy | None = None,
        stop: int = 0,
    ) -> None:
        if not len(validation.lengths()):
            _check_works_without_validation(config)
        self.model = model
        self.config = config
        self.train = train
        self.seed = seed
        self.checkpoints = checkpoints
        self._epochs = min(stop or config.most_epochs, config.most_epochs)
        self.boundaries = train.boundaries()
        self.steps = train.steps(self.boundaries)
        self._strategy = strategy or tf.distribute.get_strategy()
        with self._strategy.scope():
            self.loss = compile_model(model, config, steps=self.steps * config.most_epochs, seed=seed)
        if self._strategy.num_replicas_in_sync > 1:
            mirror(model, self._strategy)
        self._validation = Validation(
            model, self.loss, validation, self.boundaries, config.monitored, measure
        )
        self._progress = TrainingProgress(self.steps, config.most_epochs)
        self._best: list[np.ndarray] | None = None
        self._history: dict[str, Any] = {}
        self._threads = [threads()["intra_op"]]

    def fit(self) -> dict[str, Any]:
        """Trains until the last epoch or until early stopping.

        Returns:
            The history; see TrainedModel.history.

        Raises:
            UserError: if the loss is no longer a number, or the monitored metric is not defined.
        """
        running = self._begin()
        while len(self._history["epochs"]) < self._epochs and not self._stopped:
            self._run_epoch(running)
            running = None
        if self.checkpoints.newest is None:  # the last one is another attempt's, which may remove it
            self._save()
        if self._best is not None:
            self.model.set_weights(self._best)
        return self._history

    @property
    def earlier_threads(self) -> list[int]:
        """Other counts of threads than this process's, with which earlier attempts have begun it."""
        return [count for count in self._threads if count != threads()["intra_op"]]

    def kept(self) -> dict[str, Any]:
        """Returns the validation, as in the history, of the weights that the model has after `fit`."""
        validations = self._history["validations"]
        place = best_validation(self.config, validations) if self.config.keeps_best else -1
        kept: dict[str, Any] = validations[place]
        return kept

    def validate_within(self, done: int, seconds: float) -> None:
        """Validates within an epoch, and keeps a checkpoint; asks Keras to stop if training has ended.

        Args:
            done: steps of the epoch.
            seconds: that it has taken so far.
        """
        epoch = len(self._history["epochs"]) + 1
        measured = self._validate(epoch, done, self.model.get_metrics_result())
        if self._stopped:  # the state to keep is that with the epoch's figures
            self.model.stop_training = True
            return
        means = [variable.numpy() for variable in self.model.metrics_variables]
        self._save(Running(done, seconds, means))
        self._progress.validated(epoch, done, measured)

    @property
    def _stopped(self) -> bool:
        return is_stopped(self.config, self._history["validations"])

    def _begin(self) -> Running | None:
        """Goes on where an earlier attempt stood, or starts; returns where in an epoch it stood."""
        state = self.checkpoints.restore(self.model, self._epochs)
        spread_seeds(self.model, self._strategy)
        if state is None:
            self._best = None
            self._history = {
                "epochs": [],
                "best_epoch": 0,
                "best_step": 0,
                "steps_per_epoch": self.steps,
                "validations": [],
            }
            return None
        self._best, self._history, running = state[:3]
        self._threads = list(dict.fromkeys([*state.threads, *self._threads]))
        for warning in _warnings(state, self._epochs, self.earlier_threads):
            emit(Warned("train", warning))
        self._set_learning_rate()
        return running

    def _run_epoch(self, running: Running | None) -> None:
        began = time.monotonic() - (running.seconds if running else 0.0)
        epoch = len(self._history["epochs"]) + 1
        order = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        batches = self.train.batches(self.boundaries, seed=order, shuffle_buffer=self.config.shuffle_buffer)
        if running:
            batches = batches.skip(running.steps)
            # Keras makes the variables of its metrics when it first needs them.
            self.model.evaluate(self.train.batches(self.boundaries).take(1), verbose=0)
        steps = _Steps(self, self._progress, epoch, running, began)
        fitted = self.model.fit(batches, verbose=0, shuffle=False, callbacks=[steps])
        metrics = {name: float(values[0]) for name, values in fitted.history.items()}
        if self._stopped:
            last = self._history["validations"][-1]
            metrics |= {name: value for name, value in last.items() if name.startswith("val_")}
        else:
            metrics |= self._validate(epoch, self.steps, metrics)
        seconds = time.monotonic() - began
        self._history["epochs"].append({"epoch": epoch, **metrics, "seconds": seconds})
        self._save()
        epochs = self.config.most_epochs
        emit(EpochFinished("train", epoch, epochs, {**metrics, "seconds": seconds}, seconds))

    def _validate(self, epoch: int, done: int, training: Mapping[str, Any]) -> dict[str, float]:
        """Measures, and puts down what follows from it."""
        means = {name: float(value) for name, value in training.items()}
        self._check(means["loss"], epoch)
        measured = self._validation()
        validations = self._history["validations"]
        step = (epoch - 1) * self.steps + done
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        validations.append({"step": step, "epoch": epoch, "learning_rate": rate, **means, **measured})
        if best_validation(self.config, validations) == len(validations) - 1:
            self._history |= {"best_epoch": epoch, "best_step": step}
            self._best = self.model.get_weights() if self.config.keeps_best else None
        self._set_learning_rate()
        return measured

    def _set_learning_rate(self) -> None:
        if isinstance(self.config.learning_rate_schedule, Plateau):
            monitor = self.config.monitored
            values = [monitored_value(monitor, validation) for validation in self._history["validations"]]
            largest = self.config.optimizer.learning_rate
            reduce_on_plateau(
                self.config.learning_rate_schedule, self.model.optimizer, largest, monitor, values
            )

    def _check(self, loss: float, epoch: int) -> None:
        if not np.isfinite(loss):
            raise UserError(
                f"The training loss became {loss} in epoch {epoch}; expected a finite number. "
                f"Lower train.optimizer.learning_rate (now {self.config.optimizer.learning_rate}) or set "
                f"train.global_clipnorm (now {self.config.global_clipnorm})."
            )

    def _save(self, running: Running | None = None) -> None:
        ended = running is None and (len(self._history["epochs"]) >= self._epochs or self._stopped)
        state = State(self._best, self._history, running, ended, tuple(self._threads))
        self.checkpoints.save(self.model, state)


def _warnings(state: State, epochs: int, earlier_threads: list[int]) -> list[str]:
    """What to tell of an earlier attempt that a training goes on with, up to so many epochs."""
    warnings = []
    done = len(state.history["epochs"])
    if not state.ended or done >= epochs:  # otherwise it had come to its end, and is to go further now
        within = f" and {state.running.steps} steps" if state.running else ""
        warnings.append(f"going on after epoch {done}{within} of an earlier run")
    if earlier_threads:
        warnings.append(
            f"an earlier attempt had {' and '.join(map(str, earlier_threads))} threads within operations, "
            f"this one has {threads()['intra_op']}: the last bits of the weights may differ from those of a "
            "training with one count"
        )
    return warnings


def _check_works_without_validation(config: TrainConfig) -> None:
    """A metric is measured on the validation split only."""
    received = ""
    if config.monitored != "loss":
        received = f"train.monitor received {config.monitored}, which is measured on the validation split"
    elif config.validation_steps:
        received = f"train.validate_every received steps {config.validation_steps} for a validation split"
    if received:
        raise UserError(
            f"{received}, but the ingested data has none; name files for `validation` in ingest.files, "
            "give it a fraction in ingest.holdout, or remove the key."
        )


class _Steps(keras.callbacks.Callback):
    """What happens between the training steps of an epoch.

    Args:
        trainer: whose epoch it is.
        progress: where steps are reported.
        epoch: from 1.
        running: where an earlier attempt at this epoch stood.
        began: when it began, on the monotonic clock.
    """

    def __init__(
        self, trainer: Trainer, progress: TrainingProgress, epoch: int, running: Running | None, began: float
    ) -> None:
        super().__init__()
        self._trainer = trainer
        self._progress = progress
        self._epoch = epoch
        self._running = running
        self._began = began

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._running:
            for variable, value in zip(self.model.metrics_variables, self._running.means, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        done = (self._running.steps if self._running else 0) + batch + 1
        self._progress.step(self._epoch, done, (logs or {}).get("loss", float("nan")))
        every = self._trainer.config.validation_steps
        step = (self._epoch - 1) * self._trainer.steps + done
        if every and step % every == 0 and done < self._trainer.steps:
            self._trainer.validate_within(done, time.monotonic() - self._began)
