"""Computations that do not fit into memory, by the key that decides it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from components.errors import UserError
from components.work import is_full

_WHAT = re.compile(r"OOM when .+?(?= \[Op:|$)", re.MULTILINE)  # among much else that TensorFlow says


@contextmanager
def naming_batch_size(key: str, size: int, otherwise: str) -> Iterator[None]:
    """Has an error for lack of memory, of a GPU or of the machine, name the size of the batches.

    Args:
        key: of the configuration, such as `train.batch_size`.
        size: its value.
        otherwise: what else makes a batch smaller, in words.

    Raises:
        UserError: in the block, memory was not enough.
    """
    import tensorflow as tf

    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        if is_full(error):  # which TensorFlow says of disks, too
            raise
        what = _WHAT.search(str(error))
        advice = f"Set {key} to {size // 2}, or lower {otherwise}" if size > 1 else f"Lower {otherwise}"
        raise UserError(
            f"out of memory with {key} {size} ({what[0] if what else error}). {advice}."
        ) from error
