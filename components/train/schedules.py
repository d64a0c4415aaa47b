"""The learning rate at every training step.

All schedules count the steps before the one that they are asked for: the first one has learning rate 0 if
there is a warm-up, as in transformers and fairseq.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from components.errors import UserError
from components.reports import Warned, emit
from components.train.monitor import improved
from components.train.schedule_config import Plateau, Schedule


class _WarmedUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from 0 in a straight line, then follows `after`.

    Args:
        learning_rate: the largest one.
        warmup_steps: in which it is reached; 0 for none.
    """

    def __init__(self, learning_rate: float, warmup_steps: int) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate, a float32 scalar.

        Args:
            step: training steps before this one.
        """
        step = ops.cast(step, "float32")
        after = self.after(ops.maximum(step, self.warmup_steps))
        if not self.warmup_steps:
            return after
        rising = self.peak() * step / self.warmup_steps
        return ops.where(step < self.warmup_steps, rising, after)

    def peak(self) -> Any:
        """What the warm-up rises to."""
        return self.learning_rate

    def after(self, step: Any) -> Any:
        """The learning rate from `warmup_steps` on, at a float32 step."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"learning_rate": self.learning_rate, "warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable(package="rnnpipe")
class ConstantRate(_WarmedUp):
    """Stays where the warm-up ends, unless it is scaled.

    Args:
        learning_rate: the largest one.
        warmup_steps: in which it is reached; 0 for none.
    """

    def __init__(self, learning_rate: float, warmup_steps: int) -> None:
        super().__init__(learning_rate, warmup_steps)
        # A variable, because graphs keep the values of Python.
        self.rate = keras.Variable(learning_rate, trainable=False, dtype="float32", name="rate")

    def peak(self) -> Any:
        """The learning rate that is assigned to `rate`."""
        return self.rate.value

    def after(self, step: Any) -> Any:
        """The same."""
        return self.rate.value


@keras.saving.register_keras_serializable(package="rnnpipe")
class LinearDecay(_WarmedUp):
    """Falls to 0 in a straight line.

    Args:
        learning_rate: the largest one.
        warmup_steps: in which it is reached; 0 for none.
        steps: after which it is 0, those of the warm-up among them.
    """

    def __init__(self, learning_rate: float, warmup_steps: int, steps: int) -> None:
        super().__init__(learning_rate, warmup_steps)
        self.steps = steps

    def after(self, step: Any) -> Any:
        """By the share of the steps that remain."""
        remaining = ops.maximum(self.steps - step, 0.0)
        return self.learning_rate * remaining / (self.steps - self.warmup_steps)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "steps": self.steps}


@keras.saving.register_keras_serializable(package="rnnpipe")
class InverseSquareRoot(_WarmedUp):
    """Falls with the square root of the step (Vaswani et al., 2017, section 5.3).

    Args:
        learning_rate: the largest one.
        warmup_steps: in which it is reached; at least 1.
    """

    def after(self, step: Any) -> Any:
        """By sqrt(warmup_steps / step)."""
        return self.learning_rate * ops.sqrt(self.warmup_steps / step)


def learning_rate(config: Schedule, largest: float, steps: int) -> Any:
    """Makes what Keras' optimizers take as learning rate.

    Args:
        config: the schedule.
        largest: the optimizer's learning rate.
        steps: of all epochs together.

    Raises:
        UserError: if a schedule that spans all epochs has no steps left after its warm-up.
    """
    warmup = config.warmup_steps
    if config.type in ("cosine", "linear") and warmup >= steps:
        raise UserError(
            f"train.learning_rate_schedule: received warmup_steps {warmup}, but all epochs together have "
            f"{steps} training steps, in which the learning rate is also to fall; expected fewer."
        )
    if warmup > steps:
        message = f"train.learning_rate_schedule: the warm-up takes {warmup} training steps, but all epochs "
        emit(Warned("train", f"{message}together have {steps}: the learning rate stays below {largest:g}"))
    if config.type == "cosine":
        settings = {"warmup_target": largest, "warmup_steps": warmup} if warmup else {}
        first = 0.0 if warmup else largest
        return keras.optimizers.schedules.CosineDecay(first, decay_steps=steps - warmup, **settings)
    if config.type == "linear":
        return LinearDecay(largest, warmup, steps)
    if config.type == "inverse_sqrt":
        return InverseSquareRoot(largest, warmup)
    # Without a warm-up it is a variable of the optimizer, which can be assigned to.
    return ConstantRate(largest, warmup) if warmup else largest


def reduce_on_plateau(
    config: Plateau, optimizer: keras.Optimizer, largest: float, monitor: str, values: Sequence[float]
) -> None:
    """Sets the learning rate to what follows from all validations so far.

    Args:
        config: the schedule.
        optimizer: made with `learning_rate`.
        largest: its learning rate at first.
        monitor: what the values are of.
        values: of the validations, in their order.
    """
    rate = plateau_rate(config, largest, monitor, values)
    scheduled = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    (scheduled.rate if isinstance(scheduled, ConstantRate) else scheduled).assign(rate)


def plateau_rate(config: Plateau, largest: float, monitor: str, values: Sequence[float]) -> float:
    """Computes the learning rate after some validations: a function of them alone, so it needs no state.

    Args:
        config: the schedule.
        largest: the learning rate at first.
        monitor: what the values are of.
        values: of the validations, in their order.
    """
    rate, best, waited = largest, None, 0
    for value in values:
        if improved(monitor, value, best, config.min_delta):
            best, waited = value, 0
            continue
        waited += 1
        if waited >= config.patience:
            rate, waited = min(rate, max(rate * config.factor, config.min_learning_rate)), 0
    return rate
