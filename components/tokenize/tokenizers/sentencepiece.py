"""Pieces of text with their white space."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_text

from components.quiet import quietly
from components.tokenize.config import SentencePiece
from components.tokenize.tokenizers.base import SPECIAL_TOKENS, drop_first_space
from components.tokenize.tokenizers.subwords import (
    SPACE_MARK,
    SubwordTokenizer,
    into_stretches,
    train_pieces,
)

_MODEL_FILE = "sentencepiece.model"


class SentencePieceTokenizer(SubwordTokenizer[SentencePiece]):
    """Pieces of text with their white space (Kudo and Richardson, 2018).

    `detokenize(tokenize(x))` is `normalize(x)` where all its characters are known. The mark that stands for a
    space in the pieces, U+2581, counts as a space in texts too.

    Args:
        config: the tokenizer's section of the configuration.
        model: a sentencepiece model whose first four ids are the special tokens.
    """

    def __init__(self, config: SentencePiece, model: bytes) -> None:
        # A name of its own: in a SavedModel, and in a process that loads several, sentencepiece models of the
        # same name are taken for one another. Not the Fast one, which disagrees with the trainer on BPE and
        # on line breaks.
        name = f"sentencepiece_{hashlib.sha256(model).hexdigest()}"
        with quietly():
            pieces = tensorflow_text.SentencepieceTokenizer(model, out_type=tf.int32, name=name)
            size = int(pieces.vocab_size())
        super().__init__(config, [piece.decode() for piece in pieces.id_to_string(tf.range(size)).numpy()])
        self._model = model
        self._sentencepiece = pieces

    def save(self, directory: str) -> None:
        """Writes the tokenizer and sentencepiece's model into a folder, which is made if need be."""
        super().save(directory)
        Path(directory, _MODEL_FILE).write_bytes(self._model)

    @classmethod
    def load(cls, directory: str, config: SentencePiece, pieces: Sequence[str]) -> SentencePieceTokenizer:
        """Builds the tokenizer from the model, which also holds the pieces."""
        return cls(config, Path(directory, _MODEL_FILE).read_bytes())

    @classmethod
    def prepare(cls, texts: tf.Tensor, config: SentencePiece) -> tf.Tensor:
        """Normalizes texts as all tokenizers do, and makes U+2581 a space."""
        return tf.strings.regex_replace(super().prepare(texts, config), SPACE_MARK, " ")

    @classmethod
    def learn(cls, config: SentencePiece, counts: Sequence[tuple[str, int]]) -> SentencePieceTokenizer:
        """Learns pieces from words and control characters."""
        return cls(config, train_pieces(counts, config.model_type, config.vocabulary_size))

    def _missing(self, config: SentencePiece, counts: Sequence[tuple[str, int]]) -> list[str]:
        known = set(self.pieces)
        return [character for character in self._characters(counts) if character not in known]

    def _with(self, config: SentencePiece, pieces: Sequence[str]) -> SentencePieceTokenizer:
        """Appends the characters to the model.

        Their score is the lowest there is, because from that follows what an unknown character costs.
        """
        import sentencepiece  # only to learn: what uses a tokenizer needs TensorFlow alone

        learnt = sentencepiece.SentencePieceProcessor(model_proto=self._model)
        lowest = min(learnt.get_score(i) for i in range(len(SPECIAL_TOKENS), len(learnt)))
        appended = b"".join(_entry(character, lowest) for character in pieces)
        return SentencePieceTokenizer(config, self._model + appended)

    @staticmethod
    def _split(texts: tf.Tensor) -> tf.RaggedTensor:
        """Splits at spaces alone, which are what the pieces hold; control characters stand by themselves."""
        texts = into_stretches(tf.strings.regex_replace(texts, r"(\p{Cc})", r" \1 "))
        units = tf.strings.split(texts, " ")
        return tf.ragged.boolean_mask(units, units != "")

    def _look_up(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._sentencepiece.tokenize(texts)

    @staticmethod
    def _surface(piece: str) -> str:
        return piece.replace(SPACE_MARK, " ")

    @staticmethod
    def _polish(texts: tf.Tensor) -> tf.Tensor:
        return drop_first_space(texts)


def _entry(character: str, score: float) -> bytes:
    """Encodes a piece as what, behind a model, is one more of its pieces.

    A model is a protocol buffer, whose repeated field 1 holds the pieces: messages with the text in field 1
    and the score in field 2. Messages that are concatenated are one with the entries of both. Lengths below
    128, as a character's are, take one byte.
    """
    text = character.encode()
    message = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", score)
    return b"\x0a" + bytes([len(message)]) + message
