"""Learning pieces of words from counted words."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeVar

import tensorflow as tf

from components.errors import UserError
from components.tokenize.config import SentencePiece, WordPiece
from components.tokenize.tokenizers.base import END, PAD, SPECIAL_TOKENS, START, UNKNOWN, Tokenizer

Config = TypeVar("Config", WordPiece, SentencePiece)

# What sentencepiece writes for a space.
SPACE_MARK = "▁"

# Distinct strings given to the trainer. In a text with white space these are its most frequent words; in one
# without, a sample of its sentences. A character that stands only in others stays unknown.
_MOST_UNITS = 100_000
# Longer strings are counted in stretches of so many characters; the trainer makes no piece longer than 16.
_STRETCH = 64


class SubwordTokenizer(Tokenizer[Config]):
    """A tokenizer whose pieces are learnt by sentencepiece's trainer.

    They are learnt as a whole. `extend` adds single characters only, of which no earlier piece has any: a
    longer piece could match where several earlier ones did.
    """

    @classmethod
    def most_units(cls, config: Config) -> int:
        """A hundred thousand, so that the trainer's time and memory stay bounded."""
        return _MOST_UNITS

    @staticmethod
    def rank(unit: str, count: int) -> tuple[int | str, ...]:
        """By count; ties by a hash, so that what is kept of many rare units is a fair sample of them."""
        return -count, zlib.crc32(unit.encode()), unit

    @staticmethod
    def _characters(counts: Sequence[tuple[str, int]]) -> list[str]:
        """Returns the characters of counted units but NUL, the most frequent first."""
        totals: Counter[str] = Counter()
        for unit, count in counts:
            for character in unit:
                totals[character] += count
        return sorted(totals.keys() - {"\0"}, key=lambda character: (-totals[character], character))


def into_stretches(texts: tf.Tensor) -> tf.Tensor:
    """Puts a space after every 64 characters without one, which bounds the strings that are counted."""
    return tf.strings.regex_replace(texts, f"([^ ]{{{_STRETCH}}})", r"\1 ")


def require_vocabulary_size(size: int, minimum: int) -> None:
    """Checks that a vocabulary can hold every character.

    Raises:
        UserError: it cannot; the message says the minimum.
    """
    if size < minimum:
        raise UserError(
            f"vocabulary_size is {size}, but the special tokens and the characters of the train split alone "
            f"need {minimum}. Set vocabulary_size to {minimum} or more."
        )


def train_pieces(
    counts: Sequence[tuple[str, int]], model: Literal["unigram", "bpe"], vocabulary_size: int
) -> bytes:
    """Learns a sentencepiece model.

    Args:
        counts: strings without spaces, and how often they occur. Line breaks and other control characters
            are expected as strings of their own.
        model: how the pieces are learnt.
        vocabulary_size: the most pieces, the four special tokens included; there are fewer where the strings
            do not give more.

    Returns:
        The model file. It is the same for the same arguments.

    Raises:
        UserError: the vocabulary cannot hold every character, or there are control characters alone.
    """
    import sentencepiece  # only to learn: what uses a tokenizer needs TensorFlow alone

    # The trainer reads lines, in which control characters cannot be; NUL, it cannot learn at all.
    lines = [f"{unit}\t{count}" for unit, count in counts if unit >= " "]
    controls = sorted(unit for unit, _ in counts if "\0" < unit < " ")
    if not lines:
        raise UserError(
            "The train split holds nothing but control characters. Check `columns` in the ingest section, "
            "or use the tokenizer type characters."
        )
    characters = {SPACE_MARK}.union(*(unit for unit, _ in counts)) - {"\0"}
    require_vocabulary_size(vocabulary_size, len(SPECIAL_TOKENS) + len(characters))
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        input_format="tsv",
        model_writer=file,
        model_type=model,
        vocab_size=vocabulary_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars="".join(sorted(characters.difference(controls))),  # even if met in "<unk>" alone
        user_defined_symbols=controls,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        pad_id=PAD,
        unk_id=UNKNOWN,
        bos_id=START,
        eos_id=END,
        num_threads=1,  # sums of floats, and so the model, depend on it
        minloglevel=2,
    )
    return file.getvalue()
