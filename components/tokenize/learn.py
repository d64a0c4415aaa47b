"""Learns what texts and labels are turned into numbers with, from their counts, and saves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from components.artifacts.artifact import FileRef
from components.artifacts.tokens import write_labels, write_tokenizer
from components.errors import UserError
from components.tokenize.auto import Settled
from components.tokenize.choices import choose_length, least_pieces
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
        config: the section of the tokenizer; None of labels.
        chosen: of a tokenizer that was chosen, why it is so, with its type and length.
    """

    field: str
    size: int
    files: tuple[FileRef, ...]
    warnings: tuple[str, ...] = ()
    added: int | None = None
    config: TokenizerConfig | None = None
    chosen: str = ""


def learn_tokenizer(
    field: str,
    settled: Settled,
    counts: Sequence[tuple[str, int]],
    attempt: Attempt,
    earlier: Tokenizer | None = None,
    sample: Sequence[str] = (),
) -> Learnt:
    """Learns the tokenizer of a text field, or extends an earlier one, and writes it.

    Args:
        field: the text field.
        settled: the field's tokenizer.
        counts: units and how often they occur, sorted by the tokenizer's `rank`.
        attempt: whose files they are.
        earlier: the tokenizer to extend.
        sample: texts by whose lengths `max_sequence_length` is chosen, if it is to be.

    Returns:
        The size of the vocabulary, with a warning if it is smaller than what was asked for, or leaves no room
        for all that is new.

    Raises:
        UserError: there is nothing to learn from, or the configuration does not fit it.
    """
    config = settled.config
    counts = counts[: config.tokenizer().most_units(config)]  # an `auto` may have counted more
    if not counts:
        raise UserError(
            f"tokenize: the tokenizer type {config.type} finds no token in `{field}` of the train split, "
            f"expected at least one. Check `ingest.columns`, or choose another type for `tokenize.{field}`."
        )
    if earlier is not None:
        return _extended(field, config, counts, attempt, earlier)
    if settled.why and isinstance(config, SentencePiece):
        config = _with_room(config, counts)
    try:
        tokenizer = config.tokenizer().learn(config, counts)
    except UserError as error:
        raise UserError(f"tokenize.{field}: {error}") from None
    length = ""
    if settled.fits_length:
        lengths = tokenizer.tokenize(tf.constant(list(sample), tf.string), cut=False).row_lengths()
        tokens, why = choose_length(field, lengths.numpy().tolist(), "")
        config = config.model_copy(update={"max_sequence_length": tokens})
        tokenizer.config, length = config, f": {why}"
    files = tuple(write_tokenizer(attempt, field, tokenizer))
    size = tokenizer.vocabulary_size
    if settled.why:
        chosen = f"{config.type} ({settled.why}), at most {config.max_sequence_length} tokens{length}"
        return Learnt(field, size, files, config=config, chosen=chosen)
    if isinstance(config, WordPiece | SentencePiece) and size < config.vocabulary_size:
        warning = (
            f"The train split gives only {size:,} tokens for `{field}`: less than "
            f"`tokenize.{field}.vocabulary_size`, {config.vocabulary_size:,}."
        )
        return Learnt(field, size, files, (warning,), config=config)
    return Learnt(field, size, files, config=config)


def _with_room(config: SentencePiece, counts: Sequence[tuple[str, int]]) -> SentencePiece:
    """Raises a vocabulary that was chosen by a sample, if all texts have many more characters."""
    characters = set[str]().union(*(unit for unit, _ in counts))
    return config.model_copy(
        update={"vocabulary_size": max(config.vocabulary_size, least_pieces(len(characters)))}
    )


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
    return Learnt(
        field, size, tuple(write_tokenizer(attempt, field, tokenizer)), warnings, size - kept, config
    )


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
