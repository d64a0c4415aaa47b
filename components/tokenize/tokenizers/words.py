"""Tokens with white space between them: words and single other marks, or whatever stands there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import tensorflow as tf

from components.tokenize.config import Whitespace, Words
from components.tokenize.tokenizers.base import SPECIAL_TOKENS, UNKNOWN, drop_first_space
from components.tokenize.tokenizers.counted import Config, CountedTokenizer

# What holds a word together without being seen, in Persian and Indic scripts; UAX 29 counts it as part, too.
_JOINERS = "\u200c\u200d"
_SEPARATE = rf"[^\pL\pM\pN\s{_JOINERS}]"
# The rest of what Unicode calls white space; tf.strings.split knows only the ASCII part.
_OTHER_WHITE_SPACE = r"[\pZ\x1c-\x1f\x{85}]"


class _SpacedTokenizer(CountedTokenizer[Config]):
    """White space is dropped and `detokenize` puts one space between tokens."""

    def __init__(self, config: Config, pieces: Sequence[str]) -> None:
        super().__init__(config, pieces)
        words = list(self.pieces[len(SPECIAL_TOKENS) :])
        ids = range(len(SPECIAL_TOKENS), self.vocabulary_size)
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(words, list(ids), tf.string, tf.int32), UNKNOWN
        )

    def _look_up(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._ids.lookup(self._split(texts))

    @staticmethod
    def _surface(piece: str) -> str:
        return f" {piece}"

    @staticmethod
    def _polish(texts: tf.Tensor) -> tf.Tensor:
        return drop_first_space(texts)


class WordTokenizer(_SpacedTokenizer[Words]):
    """Runs of letters, marks and digits are words, other visible characters tokens of their own."""

    @staticmethod
    def _split(texts: tf.Tensor) -> tf.RaggedTensor:
        return split_words(texts)


class WhitespaceTokenizer(_SpacedTokenizer[Whitespace]):
    """Tokens are what stands between white space."""

    @staticmethod
    def _split(texts: tf.Tensor) -> tf.RaggedTensor:
        return tf.strings.split(unify_white_space(texts))


def unify_white_space(texts: tf.Tensor) -> tf.Tensor:
    """Makes spaces of the white space that is not ASCII."""
    return tf.strings.regex_replace(texts, _OTHER_WHITE_SPACE, " ")


def split_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """Splits texts into words and single other marks.

    Not tensorflow_text.regex_split: it drops what follows a NUL, and takes twice as long.

    Args:
        texts: strings `[B]`, valid UTF-8.

    Returns:
        Strings `[B, (T)]`, none of them empty.
    """
    texts = unify_white_space(texts)
    return tf.strings.split(tf.strings.regex_replace(texts, f"({_SEPARATE})", r" \1 "))


def word_characters(characters: Sequence[str]) -> list[str]:
    """Picks those of some characters that can stand in a word with others.

    By the op that splits, because Python may know fewer characters as letters.
    """
    inside = tf.logical_not(tf.strings.regex_full_match(tf.constant(characters, tf.string), _SEPARATE))
    return list(itertools.compress(characters, inside.numpy()))
