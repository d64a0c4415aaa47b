"""Training on several devices of one worker: every step as on one device, its rows shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from components.errors import UserError
from components.models.reinforce import ReinforcedModel

Metrics = dict[str, tf.Tensor]


def mirror(model: ReinforcedModel, strategy: tf.distribute.Strategy) -> None:
    """Has `fit` and `evaluate` share the rows of every batch out to the devices of a strategy.

    A step is that of one device up to rounding: the loss is the mean over the targets of the whole batch, and
    the gradients are summed before they are clipped. Keras' own steps average the means of the devices, which
    weights targets by what else is on their device, and clip every device's part. What is drawn at random is
    drawn on every device by itself.

    `fit` and `evaluate` are to be called outside the strategy's scope, with ordinary datasets.

    Args:
        model: made and compiled in the strategy's scope.
        strategy: of several replicas.

    Raises:
        UserError: the model is trained by REINFORCE, whose baseline is a mean over whole batches.
    """
    if model.samples(training=True):
        raise UserError(
            f"train.devices: received {strategy.num_replicas_in_sync} for a hard attention trained by "
            "reinforce, whose baseline is a mean over whole batches, expected 1. Remove it, or set the "
            "estimator to straight_through."
        )
    # Otherwise Keras splits the batches itself, and reads each dataset twice.
    model._distribute_strategy = None
    optimizer: Any = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    # Keras would sum them again, after clipping.
    optimizer._all_reduce_sum_gradients = list
    steps = _Steps(model, strategy.num_replicas_in_sync)
    model.train_function = _mirrored(strategy, model, steps.train)
    model.test_function = _mirrored(strategy, model, steps.test)


def spread_seeds(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Gives the random generators of the devices seeds of their own, which follow from those of the first.

    A value that is assigned from outside, as from a checkpoint, is that of all devices.

    Args:
        model: in whose layers the generators are.
        strategy: in whose scope it was made.
    """
    for variable in model.non_trainable_variables:
        if variable.name == "seed_generator_state":
            first, *others = strategy.experimental_local_results(variable.value)
            for number, other in enumerate(others, start=1):
                other.assign(first + tf.cast([number, 0], first.dtype))


def _mirrored(
    strategy: tf.distribute.Strategy, model: keras.Model, step: Callable[[Any], None]
) -> Callable[[Iterator[Any]], Metrics]:
    """A function of the next batch of an iterator, as `fit` and `evaluate` call it."""

    @tf.function(autograph=False)
    def function(batches: Iterator[Any]) -> Metrics:
        strategy.run(step, args=(next(batches),))
        metrics: Metrics = model.get_metrics_result()
        return metrics

    return function


class _Steps:
    """What a device does in a step.

    Args:
        model: compiled.
        replicas: number of devices.
    """

    def __init__(self, model: keras.Model, replicas: int) -> None:
        self._model = model
        self._replicas = replicas
        self._mean_loss = next(metric for metric in model.metrics if metric.name == "loss")

    def train(self, batch: Any) -> None:
        model, optimizer = self._model, self._model.optimizer
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(self._loss(batch, training=True))
        weights = model.trainable_weights
        pairs = zip(tape.gradient(loss, weights), weights, strict=True)
        gradients, weights = zip(*(pair for pair in pairs if pair[0] is not None), strict=True)
        replica = tf.distribute.get_replica_context()
        optimizer.apply(replica.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)), list(weights))

    def test(self, batch: Any) -> None:
        self._loss(batch, training=False)

    def _loss(self, batch: Any, training: bool) -> tf.Tensor:
        """This device's part of the batch's loss; counts it, and the metrics of its rows."""
        inputs, targets, weights = self._rows(batch)
        outputs = self._model(inputs, training=training)
        mean = self._model.compute_loss(inputs, targets, outputs, weights, training)
        # Keras' mean is over the targets of this device, and divided by the number of devices.
        part = tf.math.divide_no_nan(tf.reduce_sum(weights), tf.reduce_sum(batch[-1]))
        loss = self._replicas * part * mean
        rows = tf.cast(tf.shape(batch[-1])[0], tf.float32)
        self._mean_loss.update_state(self._replicas * loss, sample_weight=rows / self._replicas)
        self._model.compute_metrics(inputs, targets, outputs, weights)
        return loss

    def _rows(self, batch: Any) -> Any:
        """The rows of this device. One for which none are left repeats the last row, without weight."""
        inputs, targets, weights = batch
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        count = tf.shape(weights)[0]
        share = -(-count // self._replicas)
        begin = tf.minimum(replica * share, count - 1)
        end = tf.minimum(begin + share, count)
        own = tf.cast(replica * share < count, weights.dtype)
        inputs, targets, weights = tf.nest.map_structure(
            lambda each: each[begin:end], (inputs, targets, weights)
        )
        return inputs, targets, weights * own
