"""What a training needs of its process: random states, determinism and precision, for as long as it lasts."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context
from tensorflow.python.framework import config as tensorflow_config

# One training at a time: nearly all of this is shared by the threads of a process.
_LOCK = threading.RLock()
_KERAS = ("global_random_seed", "global_seed_generator", "dtype_policy")
_depth = 0


@contextmanager
def training_scope(
    seed: int, precision: str | None = None, deterministic: bool | None = None
) -> Iterator[None]:
    """Holds the process for one training, and gives it back as it was.

    Within it the random generators of Python, NumPy, Keras and TensorFlow start from the seed, so that
    trainings in one process give the same bytes in any order, and as many of them as threads ask for run one
    after the other. Afterwards, also after an error, generators, Keras' dtype policy, TensorFlow's op
    determinism and TensorFloat-32 are as before. What TensorFlow cannot give back is how far an eager random
    op with a seed of its own has come: it starts again.

    Args:
        seed: of everything that is drawn.
        precision: Keras' dtype policy; None: that of the scope around this one, float32 if there is none.
        deterministic: whether ops give the same bits every time; None: as around, True if there is nothing.
    """
    global _depth
    with _LOCK:
        before = _state()
        _depth += 1
        try:
            if _depth == 1:
                precision = precision or "float32"
                deterministic = True if deterministic is None else deterministic
                # TensorFlow's default, which a predictor loaded earlier has changed.
                tf.config.experimental.enable_tensor_float_32_execution(True)
            if precision is not None:
                keras.config.set_dtype_policy(precision)
            if deterministic is not None:
                _set_determinism(deterministic)
            keras.utils.set_random_seed(seed)
            yield
        finally:
            _depth -= 1
            _restore(before)


def _state() -> dict[str, Any]:
    eager = context.context()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "keras": {name: global_state.get_global_attribute(name) for name in _KERAS},
        "tensorflow": (eager._seed, getattr(eager, "_rng", None)),
        "determinism": tensorflow_config.is_op_determinism_enabled(),
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
    }


def _restore(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    for name, value in state["keras"].items():
        global_state.set_global_attribute(name, value)
    eager = context.context()
    eager._seed, eager._rng = state["tensorflow"]
    _set_determinism(state["determinism"])
    tf.config.experimental.enable_tensor_float_32_execution(state["tensor_float_32"])


def _set_determinism(enabled: bool) -> None:
    if enabled:
        tensorflow_config.enable_op_determinism()
    else:
        tensorflow_config.disable_op_determinism()
