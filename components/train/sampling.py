"""Scheduled sampling: which true tokens a training step shows the decoder (Bengio et al., 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from components.train.config import ScheduledSampling

_STEEPNESS = 10.0  # of the inverse sigmoid, which goes from 0.7 % of its height to 99.3 %


class TeacherForcing:
    """Draws where the decoder reads the true token, by a probability that depends on the training step.

    Ratio and draws are functions of the optimizer's step count and the seed, so a training that is continued
    goes on as if it had not been interrupted. No variable of the model takes part. Of several devices, each
    draws for its own rows.

    Args:
        config: the probability, or how it changes.
        steps: training steps from the start to the end of the schedule.
        optimizer: counts the steps.
        seed: decides the draws.
    """

    def __init__(
        self, config: float | ScheduledSampling, steps: int, optimizer: keras.Optimizer, seed: int
    ) -> None:
        if isinstance(config, float):
            config = ScheduledSampling(start=config, end=config)
        self._config = config
        self._steps = steps
        self._optimizer = optimizer
        self._seed = seed

    def ratio(self, step: Any) -> tf.Tensor:
        """Returns the probability of the true token.

        Args:
            step: number of training steps before this one, an integer or a scalar tensor.
        """
        start, end = self._config.start, self._config.end
        done = tf.minimum(tf.cast(step, "float32") / max(self._steps - 1, 1), 1.0)
        if self._config.schedule == "exponential":
            return start * tf.exp(done * math.log(end / start))
        if self._config.schedule == "inverse_sigmoid":
            first, last = (1 / (1 + math.exp(-sign * _STEEPNESS / 2)) for sign in (1, -1))
            done = (first - tf.sigmoid(_STEEPNESS * (0.5 - done))) / (first - last)
        return start + (end - start) * done

    def __call__(self, shape: Sequence[Any]) -> tf.Tensor:
        """Draws for one training step.

        Args:
            shape: [B, T].

        Returns:
            booleans [B, T], True for the true token.
        """
        step = tf.convert_to_tensor(self._optimizer.iterations)
        device = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, step.dtype)
        seed = tf.stack([tf.constant(self._seed % 2**31, step.dtype) + device, step])
        return tf.random.stateless_uniform(shape, seed) < self.ratio(step)
