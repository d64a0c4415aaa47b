"""Learns what texts and labels are turned into numbers with, from their counts, and saves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from components.artifacts.artifact import FileRef
from components.artifacts.tokens import write_labels, write_tokenizer
from components.errors import UserError
from components.tokenize.config import SentencePiece, TokenizerConfig, WordPiece
from components.tokenize.tokenizers import Tokenizer
from components.work import Attempt


class Learnt(NamedTuple):
    """What has been learnt for a field.

    Args:
        field: a text field, or `label`.
        size: number of token ids, or of labels.
        files: the tokenizer, or the labels.
        warnings: what someone should know about it.
        added: how many of the ids, or of the labels, an earlier model does not have; None without one.
    """

    field: str
    size: int
    files: tuple[FileRef, ...]
    warnings: tuple[str, ...] = ()
    added: int | None = None


def learn_tokenizer(
    field: str,
    config: TokenizerConfig,
    counts: Sequence[tuple[str, int]],
    attempt: Attempt,
    earlier: Tokenizer | None = None,
) -> Learnt:
    """Learns the tokenizer of a text field, or extends an earlier one, and writes it.

    Args:
        field: the text field.
        config: the field's tokenizer.
        counts: units and how often they occur, sorted by the tokenizer's `rank`.
        attempt: whose files they are.
        earlier: the tokenizer to extend.

    Returns:
        The size of the vocabulary, with a warning if it is smaller than what was asked for, or leaves no room
        for all that is new.

    Raises:
        UserError: there is nothing to learn from, or the configuration does not fit it.
    """
    if not counts:
        raise UserError(
            f"tokenize: the tokenizer type {config.type} finds no token in `{field}` of the train split, "
            f"expected at least one. Check `ingest.columns`, or choose another type for `tokenize.{field}`."
        )
    if earlier is not None:
        return _extended(field, config, counts, attempt, earlier)
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


def _extended(
    field: str,
    config: TokenizerConfig,
    counts: Sequence[tuple[str, int]],
    attempt: Attempt,
    earlier: Tokenizer,
) -> Learnt:
    tokenizer, left_out = earlier.extend(config, counts)
    size, kept = tokenizer.vocabulary_size, earlier.vocabulary_size
    warnings: tuple[str, ...] = ()
    if left_out or config.vocabulary_size < kept:
        warnings = (
            f"`tokenize.{field}.vocabulary_size` is {config.vocabulary_size:,}, and the earlier model has "
            f"{kept:,} tokens for `{field}`, which are all kept: {left_out:,} new ones of the train split "
            f"are left out. Set it to {size + left_out:,} or more.",
        )
    return Learnt(field, size, tuple(write_tokenizer(attempt, field, tokenizer)), warnings, size - kept)


def learn_labels(
    counts: Sequence[tuple[str, int]], attempt: Attempt, earlier: Sequence[str] | None = None
) -> Learnt:
    """Numbers the labels, and writes them.

    Args:
        counts: the labels of the train split and how often they occur, in any order.
        attempt: whose files they are.
        earlier: labels that keep their numbers, whether they occur or not; new ones come behind.
    """
    kept = list(earlier or ())
    labels = kept + sorted({label for label, _ in counts}.difference(kept))
    added = None if earlier is None else len(labels) - len(kept)
    return Learnt("label", len(labels), (write_labels(attempt, labels),), added=added)
