"""The network as it is built, once it is known what it reads."""

from __future__ import annotations

from typing import Any

from components.artifacts.tokens import Tokens
from components.models.config import ModelConfig
from components.models.dropout import default_dropout
from components.strict import Task
from components.train.vectors import with_width
from components.user_file import UserFile


def built(
    model: ModelConfig, task: Task, tokens: Tokens, vectors: UserFile | None
) -> tuple[ModelConfig, dict[str, Any]]:
    """Settles what is left open in a network.

    Args:
        model: the network, as configured.
        task: classification or seq2seq.
        tokens: what it reads.
        vectors: its word vectors; None if it has none.

    Returns:
        The network, and what was chosen, by section; empty if nothing was.

    Raises:
        UserError: its `embedding_size` is not that of the vectors, or the file is none of vectors.
    """
    network = with_width(model, vectors)
    if network.dropout is not None or network.readout is not None or task != "classification":
        return network, {}
    rate, why = default_dropout(tokens.tokenizer_config("text"))
    chosen = {"model": {"settings": {"dropout": rate}, "why": why}}
    return network.model_copy(update={"dropout": rate}), chosen
