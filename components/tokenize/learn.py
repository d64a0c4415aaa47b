"""Learns what texts and labels are turned into numbers with, from their counts, and saves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from components.artifacts.artifact import FileRef
from components.artifacts.tokens import write_labels, write_tokenizer
from components.errors import UserError
from components.tokenize.config import SentencePiece, TokenizerConfig, WordPiece
from components.work import Attempt


class Learnt(NamedTuple):
    """What has been learnt for a field.

    Args:
        field: a text field, or `label`.
        size: number of token ids, or of labels.
        files: the tokenizer, or the labels.
        warnings: what someone should know about it.
    """

    field: str
    size: int
    files: tuple[FileRef, ...]
    warnings: tuple[str, ...] = ()


def learn_tokenizer(
    field: str, config: TokenizerConfig, counts: Sequence[tuple[str, int]], attempt: Attempt
) -> Learnt:
    """Learns the tokenizer of a text field, and writes it.

    Args:
        field: the text field.
        config: the field's tokenizer.
        counts: units and how often they occur, sorted by the tokenizer's `rank`.
        attempt: whose files they are.

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
        tokenizer = config.tokenizer().learn(config, counts)
    except UserError as error:
        raise UserError(f"tokenize.{field}: {error}") from None
    files = tuple(write_tokenizer(attempt, field, tokenizer))
    size = tokenizer.vocabulary_size
    if isinstance(config, WordPiece | SentencePiece) and size < config.vocabulary_size:
        warning = (
            f"The train split gives only {size:,} tokens for `{field}`: less than "
            f"`tokenize.{field}.vocabulary_size`, {config.vocabulary_size:,}."
        )
        return Learnt(field, size, files, (warning,))
    return Learnt(field, size, files)


def learn_labels(counts: Sequence[tuple[str, int]], attempt: Attempt) -> Learnt:
    """Numbers the labels, and writes them.

    Args:
        counts: the labels of the train split and how often they occur, in any order.
        attempt: whose files they are.
    """
    labels = sorted(label for label, _ in counts)
    return Learnt("label", len(labels), (write_labels(attempt, labels),))
