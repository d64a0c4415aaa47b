"""Whether a training fits into memory, before anything is allocated for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import keras
import tensorflow as tf
from rich.filesize import decimal

from components.errors import UserError
from components.memory import free_memory, memory_limit
from components.models.build import build_model
from components.models.config import ModelConfig
from components.reports import Warned, emit
from components.strict import Task
from components.train.config import TrainConfig
from components.train.optimizers import make_optimizer
from components.train.schedule_config import Constant

Shape = tuple[int, ...]
Result = TypeVar("Result")

_FLOAT = 4  # bytes


class Estimate(NamedTuple):
    """What a training needs at the least, in bytes.

    Args:
        parameters: the model's variables.
        slots: the optimizer's, such as the moments of Adam.
        batch: gradients, and what a batch's forward pass keeps for the backward pass.
    """

    parameters: int
    slots: int
    batch: int


def check_memory(
    config: TrainConfig, model: ModelConfig, task: Task, sizes: dict[str, int], longest: int
) -> int:
    """Warns of a training that will probably not fit, and refuses one that cannot.

    With a GPU nothing is checked, as its memory is another.

    Args:
        config: how to fit.
        model: what to fit.
        task: classification or seq2seq.
        sizes: number of ids by field, as `build_model` takes them.
        longest: tokens of the longest text that is trained on.

    Returns:
        The bytes that are needed at the least; 0 where that is not known.

    Raises:
        UserError: parameters and slots alone exceed what this process may use.
    """
    if tf.config.list_physical_devices("GPU"):
        return 0
    try:
        shapes, trained = _shapes(model, task, sizes)
    except Exception:
        # A layer of the user's own may not be built without values; training tells what is wrong.
        return 0
    needed = estimate(config, shapes, trained, config.batch_size * longest)
    certain, limit, free = needed.parameters + needed.slots, memory_limit(), free_memory()
    held = (
        f"{decimal(needed.parameters)} for {sum(map(math.prod, shapes)):,} parameters and "
        f"{decimal(needed.slots)} for the state of {config.optimizer.type}"
    )
    if certain > limit:
        raise UserError(
            f"training needs {held}, and this process may use {decimal(limit)} in all. Lower the sizes of "
            "the model, such as model.encoder.units or a tokenizer's vocabulary_size, or give it more memory."
        )
    if certain + needed.batch > free:
        emit(
            Warned(
                "train",
                f"this may not fit into memory: training needs {held}, about {decimal(needed.batch)} for "
                f"gradients and a batch of {config.batch_size} texts of {longest} tokens, and "
                f"{decimal(free)} are free; where it is killed, lower the sizes of the model or "
                "train.batch_size",
            )
        )
    return certain + needed.batch


def estimate(
    config: TrainConfig, shapes: Sequence[Shape], trained: Sequence[Shape], positions: int
) -> Estimate:
    """Adds up what is needed.

    Args:
        config: the optimizer.
        shapes: of all variables of the model.
        trained: of those that are trained.
        positions: tokens of a batch, padding included.
    """
    gradients = sum(map(math.prod, trained))
    # A kernel makes its width of features at every position, which are kept, and get a gradient.
    widths = sum(shape[-1] for shape in trained if len(shape) > 1)
    return Estimate(
        _FLOAT * sum(map(math.prod, shapes)),
        _FLOAT * slots(config) * gradients,
        _FLOAT * (gradients + 2 * positions * widths),
    )


def slots(config: TrainConfig) -> int:
    """Counts the values that the optimizer keeps for every one that is trained."""

    def counted() -> int:
        probe = keras.Sequential([keras.layers.Dense(3, use_bias=False, kernel_initializer="zeros")])
        probe.build((None, 2))
        constant = config.model_copy(update={"learning_rate_schedule": Constant(type="constant")})
        optimizer = make_optimizer(constant, probe, steps=1)
        return sum(tuple(variable.shape) == (2, 3) for variable in optimizer.variables)

    return _apart(counted)


def _shapes(model: ModelConfig, task: Task, sizes: dict[str, int]) -> tuple[list[Shape], list[Shape]]:
    """The shapes of all variables of a model and of the trained ones; no variable gets a value."""

    def built() -> tuple[list[Shape], list[Shape]]:
        with keras.StatelessScope(initialize_variables=False):
            made = build_model(model, task, sizes)
            variables, trained = made.variables, made.trainable_variables
            return [tuple(v.shape) for v in variables], [tuple(v.shape) for v in trained]

    return _apart(built)


def _apart(function: Callable[[], Result]) -> Result:
    """Calls a function in a thread, with which Keras' counters and its variables without values go."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()
