"""Paths for TensorFlow, which looks for a model's variables by a pattern."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNS = "[\\"  # the ones that do not match themselves


@contextmanager
def plain_path(directory: str | os.PathLike[str]) -> Iterator[str]:
    """Leads to a directory by a path that as a pattern means itself: its own, or that of a symbolic link."""
    path = os.path.abspath(directory)
    if not any(sign in path for sign in _SIGNS):
        yield os.fspath(directory)
        return
    with tempfile.TemporaryDirectory(prefix="rnnpipe-model-") as folder:
        link = os.path.join(folder, "model")
        os.symlink(path, link, target_is_directory=True)
        yield link
