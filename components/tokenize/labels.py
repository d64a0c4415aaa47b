"""The labels of a classification as numbers: tokenizer/labels.txt in the stage's artifact."""

from __future__ import annotations

import os
from collections.abc import Iterable

import tensorflow as tf

_FILE = os.path.join("tokenizer", "labels.txt")


def write_labels(artifact: str, labels: Iterable[str]) -> None:
    """Writes labels, one a line; a label's number is that of its line, from 0.

    Args:
        artifact: the tokenize artifact's directory.
        labels: by number, none of them with a line break.
    """
    path = os.path.join(artifact, _FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write("".join(f"{label}\n" for label in labels))


def read_labels(artifact: str) -> list[str]:
    """Returns the labels by number.

    Args:
        artifact: the tokenize artifact's directory.
    """
    with tf.io.gfile.GFile(os.path.join(artifact, _FILE)) as file:
        return file.read().removesuffix("\n").split("\n")
