"""Learns what texts and labels are turned into numbers with, from their counts, and saves it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from components.errors import UserError
from components.tokenize.config import SentencePiece, WordPiece
from components.tokenize.config import Tokenizer as TokenizerConfig
from components.tokenize.labels import write_labels
from components.tokenize.tokenizers import TOKENIZERS


class Learnt(NamedTuple):
    """What has been learnt for a field.

    Args:
        field: a text field, or `label`.
        size: number of token ids, or of labels.
        warnings: what someone should know about it.
    """

    field: str
    size: int
    warnings: tuple[str, ...] = ()


def learn_tokenizer(
    field: str, config: TokenizerConfig, counts: Sequence[tuple[str, int]], output: str
) -> Learnt:
    """Learns the tokenizer of a text field and writes tokenizer/<field>/.

    Args:
        field: the text field.
        config: the field's tokenizer.
        counts: units and how often they occur, sorted by the tokenizer's `rank`.
        output: the artifact's directory.

    Returns:
        The size of the vocabulary, with a warning if it is smaller than what was asked for.

    Raises:
        UserError: there is nothing to learn from, or the configuration does not fit it.
    """
    if not counts:
        raise UserError(
            f"tokenize: the tokenizer type {config.type} finds no token in `{field}` of the train split, "
            f"expected at least one. Check `ingest.columns`, or choose another type for `tokenize.{field}`."
        )
    try:
        tokenizer = TOKENIZERS[config.type].learn(config, counts)
    except UserError as error:
        raise UserError(f"tokenize.{field}: {error}") from None
    tokenizer.save(os.path.join(output, "tokenizer", field))
    size = tokenizer.vocabulary_size
    if isinstance(config, WordPiece | SentencePiece) and size < config.vocabulary_size:
        warning = (
            f"The train split gives only {size:,} tokens for `{field}`: less than "
            f"`tokenize.{field}.vocabulary_size`, {config.vocabulary_size:,}."
        )
        return Learnt(field, size, (warning,))
    return Learnt(field, size)


def learn_labels(counts: Sequence[tuple[str, int]], output: str) -> Learnt:
    """Writes tokenizer/labels.txt.

    Args:
        counts: the labels of the train split and how often they occur, in any order.
        output: the artifact's directory.
    """
    labels = sorted(label for label, _ in counts)
    write_labels(output, labels)
    return Learnt("label", len(labels))
