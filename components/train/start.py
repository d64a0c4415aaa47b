"""The model before training."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from components.models.build import build_model
from components.models.config import ModelConfig
from components.strict import FIELDS, Task
from components.tokenize.labels import read_labels
from components.tokenize.tokenizers import load_tokenizer


def new_model(config: ModelConfig, task: Task, tokens: str, seed: int) -> keras.Model:
    """Makes a model for a tokenize artifact, the same for the same seed.

    Args:
        config: the network.
        task: classification or seq2seq.
        tokens: the artifact's directory.
        seed: of everything that is drawn in this process from now on.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return build_model(config, task, model_sizes(task, tokens))


def model_sizes(task: Task, tokens: str) -> dict[str, int]:
    """Returns the number of ids by field of the task; for `label`, of classes.

    Args:
        task: classification or seq2seq.
        tokens: the tokenize artifact's directory.
    """
    directory = Path(tokens) / "tokenizer"
    return {
        field: len(read_labels(tokens))
        if field == "label"
        else load_tokenizer(str(directory / field)).vocabulary_size
        for field in FIELDS[task]
    }
