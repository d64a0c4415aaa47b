"""One token a Unicode code point."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from components.tokenize.config import Characters
from components.tokenize.tokenizers.base import SPECIAL_TOKENS, UNKNOWN
from components.tokenize.tokenizers.counted import CountedTokenizer


class CharacterTokenizer(CountedTokenizer[Characters]):
    """One token a Unicode code point; white space and control characters count as any other.

    `detokenize(tokenize(x))` is `normalize(x)` where all its characters are known.
    """

    def __init__(self, config: Characters, pieces: Sequence[str]) -> None:
        super().__init__(config, pieces)
        code_points = [ord(piece) for piece in self.pieces[len(SPECIAL_TOKENS) :]]
        ids = range(len(SPECIAL_TOKENS), self.vocabulary_size)
        # Numbers as keys: decoding to code points is ten times as fast as splitting into strings.
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(code_points, list(ids), tf.int32, tf.int32), UNKNOWN
        )

    def _look_up(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._ids.lookup(self._split(texts))

    @staticmethod
    def _split(texts: tf.Tensor) -> tf.RaggedTensor:
        return tf.strings.unicode_decode(texts, "UTF-8")

    @staticmethod
    def _unit(value: int) -> str:
        return chr(value)
