"""Pieces of words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text

from components.tokenize.config import WordPiece
from components.tokenize.tokenizers.base import SPECIAL_TOKENS, UNKNOWN, drop_first_space
from components.tokenize.tokenizers.subwords import (
    SPACE_MARK,
    SubwordTokenizer,
    into_stretches,
    require_vocabulary_size,
    train_pieces,
)
from components.tokenize.tokenizers.words import split_words, word_characters

_INSIDE = "##"
_LONGEST_WORD = 1_000_000  # bytes; by default a word of more than a hundred is unknown


class WordPieceTokenizer(SubwordTokenizer[WordPiece]):
    """Pieces of words, longest match first (Schuster and Nakajima, 2012; Song et al., 2021).

    A piece that does not start a word is written with `##` before it. White space is dropped and `detokenize`
    puts one space between words. A word with a character that has not been learnt is one unknown token; so
    is every control character.
    """

    def __init__(self, config: WordPiece, pieces: Sequence[str]) -> None:
        super().__init__(config, pieces)
        self._wordpiece = tensorflow_text.FastWordpieceTokenizer(
            vocab=list(pieces),
            suffix_indicator=_INSIDE,
            max_bytes_per_word=_LONGEST_WORD,
            token_out_type=tf.int32,
            unknown_token=SPECIAL_TOKENS[UNKNOWN],
            no_pretokenization=True,
        )

    def _look_up(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._wordpiece.tokenize(split_words(texts)).merge_dims(1, 2)

    @staticmethod
    def _split(texts: tf.Tensor) -> tf.RaggedTensor:
        return split_words(into_stretches(texts))

    @classmethod
    def learn(cls, config: WordPiece, counts: Sequence[tuple[str, int]]) -> WordPieceTokenizer:
        """Learns pieces by byte pair encoding of words.

        Every character gets a piece that starts a word and, if it can stand in one, a piece inside a word, so
        that every word of known characters can be spelt. The pieces that were merged first fill the rest.
        """
        import sentencepiece  # only to learn: what uses a tokenizer needs TensorFlow alone

        words = _without_controls(counts)
        characters = sorted(set[str]().union(*(word for word, _ in words)))
        inside = [_INSIDE + character for character in word_characters(characters)]
        spelling = [*SPECIAL_TOKENS, *characters, *inside]
        require_vocabulary_size(config.vocabulary_size, len(spelling))
        # More than asked for, because some of what it learns only spells a first character.
        model = train_pieces(words, "bpe", config.vocabulary_size + len(characters))
        learnt = sentencepiece.SentencePieceProcessor(model_proto=model)
        merged = (learnt.id_to_piece(i) for i in range(len(SPECIAL_TOKENS), len(learnt)))
        pieces = dict.fromkeys([*spelling, *(_as_wordpiece(piece) for piece in merged if len(piece) > 1)])
        return cls(config, list(pieces)[: config.vocabulary_size])

    def _missing(self, config: WordPiece, counts: Sequence[tuple[str, int]]) -> list[str]:
        characters, known = self._characters(_without_controls(counts)), set(self.pieces)
        inside = set(word_characters(characters))
        spelling = [
            piece
            for character in characters
            for piece in ((character, _INSIDE + character) if character in inside else (character,))
        ]
        return [piece for piece in spelling if piece not in known]

    @staticmethod
    def _surface(piece: str) -> str:
        return piece.removeprefix(_INSIDE) if piece.startswith(_INSIDE) else f" {piece}"

    @staticmethod
    def _polish(texts: tf.Tensor) -> tf.Tensor:
        return drop_first_space(texts)


def _without_controls(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Leaves out control characters: the op keeps two for itself, and crashes with U+0011 as a piece."""
    return [(word, count) for word, count in counts if unicodedata.category(word[0]) != "Cc"]


def _as_wordpiece(piece: str) -> str:
    """Writes one of sentencepiece's pieces as a piece of a word."""
    return piece.removeprefix(SPACE_MARK) if piece.startswith(SPACE_MARK) else _INSIDE + piece
