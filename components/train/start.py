"""The model before training."""

from __future__ import annotations

import threading

import keras
import tensorflow as tf

from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.encoders import MemoryNetworkEncoder
from components.strict import FIELDS, Task
from components.tokenize.tokenizers import UNKNOWN, Tokenizer

DRAWING = threading.Lock()
"""Held while models are made: Keras draws from what a whole process shares, and an engine may try a bundle
twice in one."""


def new_model(config: ModelConfig, task: Task, tokens: Tokens, seed: int) -> keras.Model:
    """Makes a model for a tokenize artifact, the same for the same seed.

    Args:
        config: the network.
        task: classification or seq2seq.
        tokens: the artifact.
        seed: of everything that is drawn in this process from now on.

    Raises:
        UserError: the tokenizer does not know the token that ends a sentence.
    """
    sizes = model_sizes(task, tokens)
    with DRAWING:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        model = build_model(config, task, sizes)
    if isinstance(config.encoder, MemoryNetworkEncoder):
        field = FIELDS[task][0]
        separator = _separator_id(config.encoder.separator, tokens.tokenizer(field), field)
        model.encoder.set_separator(separator)
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


def _separator_id(separator: str, tokenizer: Tokenizer, field: str) -> int:
    ids = tokenizer.tokenize(tf.constant([separator]))[0].numpy().tolist()
    if len(ids) == 1 and ids[0] != UNKNOWN:
        return ids[0]
    pieces = ", ".join(tokenizer.pieces[token] for token in ids)
    raise UserError(
        f"model.encoder.separator received {separator!r}, expected a token that the {field} tokenizer "
        f"({tokenizer.config.type}) learnt from the train split, got {pieces or 'none'}. Set it to the token "
        "that ends the sentences of your data, or put that token between them."
    )
