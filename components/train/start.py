"""The model before training."""

from __future__ import annotations

import keras

from components.artifacts.tokens import Tokens
from components.models.build import build_model
from components.models.config import ModelConfig
from components.strict import FIELDS, Task
from components.train.scope import training_scope


def new_model(config: ModelConfig, task: Task, tokens: Tokens, seed: int) -> keras.Model:
    """Makes a model for a tokenize artifact, the same for the same seed.

    Args:
        config: the network.
        task: classification or seq2seq.
        tokens: the artifact.
        seed: of the weights, and of the generators that the model draws from in training.

    Raises:
        UserError: the encoder cannot read what the tokenizer makes.
    """
    sizes = model_sizes(task, tokens)
    with training_scope(seed):
        model = build_model(config, task, sizes)
    read = FIELDS[task][0]
    config.encoder.prepare(model.encoder, tokens.tokenizer(read), read)
    return model


def model_sizes(task: Task, tokens: Tokens) -> dict[str, int]:
    """Returns the number of ids by field of the task; for `label`, of classes.

    Args:
        task: classification or seq2seq.
        tokens: the tokenize artifact.
    """
    return {
        field: len(tokens.labels()) if field == "label" else tokens.tokenizer(field).vocabulary_size
        for field in FIELDS[task]
    }
