"""What all tokenizers share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import tensorflow as tf
import tensorflow_text

from components.artifacts.tokens import TOKENIZER_FILE
from components.tokenize.config import TokenizerConfig

SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>")
PAD, UNKNOWN, START, END = range(4)

Config = TypeVar("Config", bound=TokenizerConfig)


class Extension(NamedTuple):
    """A tokenizer with more tokens than an earlier one.

    Args:
        tokenizer: the earlier tokens at their ids, the new ones behind them.
        left_out: how many new tokens `vocabulary_size` leaves no room for, as far as they were counted.
    """

    tokenizer: Tokenizer[Any]
    left_out: int


class Tokenizer(tf.Module, ABC, Generic[Config]):
    """Strings to ids and back.

    Every method that takes tensors can be used in a `tf.function` and in a SavedModel. What has been learnt
    becomes part of the graph: there are no asset files, so an export works wherever it is moved.

    Args:
        config: the tokenizer's section of the configuration.
        pieces: what each id stands for, the special tokens (ids 0 to 3) included.
    """

    def __init__(self, config: Config, pieces: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self._pieces = tuple(pieces)
        learnt = self._pieces[len(SPECIAL_TOKENS) :]
        self._surfaces = tf.constant([""] * len(SPECIAL_TOKENS) + [self._surface(piece) for piece in learnt])

    @property
    def pieces(self) -> tuple[str, ...]:
        """What each id stands for, in a form that can be printed."""
        return tuple(self._pieces)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, the four special ones included."""
        return len(self._pieces)

    def tokenize(self, texts: tf.Tensor, *, cut: bool = True) -> tf.RaggedTensor:
        """Turns texts into ids, without start and end tokens.

        Args:
            texts: strings `[B]`, UTF-8; each invalid byte counts as one U+FFFD.
            cut: whether to keep `max_sequence_length` tokens of a text only.

        Returns:
            int32 `[B, (T)]`. A text without tokens is an empty row.
        """
        ids = self._look_up(self.normalize(texts))
        return self.cut(ids) if cut else ids

    def cut(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """Keeps the first `max_sequence_length` ids of each row, or the last ones, as configured."""
        size = self.config.max_sequence_length
        return ids[:, -size:] if self.config.truncation_side == "left" else ids[:, :size]

    def detokenize(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Turns ids back into texts; special tokens leave no trace.

        Args:
            ids: integers `[..., T]` from 0 to `vocabulary_size - 1`, padded or ragged.

        Returns:
            Strings `[...]`, UTF-8.
        """
        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor(PAD)
        return self._polish(tf.strings.reduce_join(tf.gather(self._surfaces, ids), axis=-1))

    def normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the texts `[B]` as the tokenizer sees them: `prepare` with its own configuration."""
        return self.prepare(texts, self.config)

    def save(self, directory: str) -> None:
        """Writes the tokenizer into a local folder, which is made if need be; `load_tokenizer` reads it.

        JSON, because any character may be a token: line breaks would split it in a plain list of lines.
        """
        Path(directory).mkdir(parents=True, exist_ok=True)
        settings = {"config": self.config.model_dump(), "pieces": self.pieces}
        as_json = json.dumps(settings, ensure_ascii=False, indent=1) + "\n"
        Path(directory, TOKENIZER_FILE).write_bytes(as_json.encode())

    @classmethod
    def load(cls, directory: str, config: Config, pieces: Sequence[str]) -> Tokenizer[Config]:
        """Builds the tokenizer from what `save` wrote; for `load_tokenizer`, which reads the settings."""
        return cls(config, pieces)

    @classmethod
    def prepare(cls, texts: tf.Tensor, config: Config) -> tf.Tensor:
        """Makes texts valid UTF-8, normalizes and case-folds them.

        Args:
            texts: strings `[B]`.
            config: says which normal form, and whether to fold.

        Returns:
            Strings `[B]`.
        """
        texts = tensorflow_text.coerce_to_structurally_valid_utf8(texts)
        if config.normalize != "none":
            texts = tensorflow_text.normalize_utf8(texts, config.normalize.upper())
        return tensorflow_text.case_fold_utf8(texts) if config.case_fold else texts

    @classmethod
    def count(cls, texts: tf.Tensor, config: Config) -> Mapping[str, int]:
        """Counts in a batch of texts the units that `learn` learns from.

        Args:
            texts: strings `[B]`.
            config: the tokenizer's section of the configuration.

        Returns:
            How often each unit occurs.
        """
        units, _, counts = tf.unique_with_counts(cls._split(cls.prepare(texts, config)).flat_values)
        return dict(zip(map(cls._unit, units.numpy()), counts.numpy().tolist(), strict=True))

    @staticmethod
    def rank(unit: str, count: int) -> tuple[int | str, ...]:
        """The sort key of counted units, most important first: by count, then by code points."""
        return -count, unit

    @classmethod
    @abstractmethod
    def most_units(cls, config: Config) -> int:
        """How many units, the first ones by `rank`, `learn` can make use of."""

    @classmethod
    @abstractmethod
    def learn(cls, config: Config, counts: Sequence[tuple[str, int]]) -> Tokenizer[Config]:
        """Makes a tokenizer from counted units.

        Args:
            config: the tokenizer's section of the configuration.
            counts: units and how often they occur, sorted by `rank`, at least one.

        Raises:
            UserError: the configuration does not fit the counts.
        """

    def extend(self, config: Config, counts: Sequence[tuple[str, int]]) -> Extension:
        """Adds tokens for what this tokenizer reads as unknown; its own keep their ids, all of them.

        An id of a text changes only where it was the unknown token, so the ids of a text without unknown
        tokens stay the same.

        Args:
            config: the section of the new tokenizer, which splits and normalizes texts as this one does.
                Its `vocabulary_size` bounds what is added.
            counts: as for `learn`.
        """
        missing = self._missing(config, counts)
        room = max(config.vocabulary_size - self.vocabulary_size, 0)
        return Extension(self._with(config, missing[:room]), max(len(missing) - room, 0))

    @abstractmethod
    def _missing(self, config: Config, counts: Sequence[tuple[str, int]]) -> list[str]:
        """Returns the pieces that `extend` may add, most important first."""

    def _with(self, config: Config, pieces: Sequence[str]) -> Tokenizer[Config]:
        """Makes a tokenizer with these pieces behind this one's."""
        return type(self)(config, [*self.pieces, *pieces])

    @staticmethod
    @abstractmethod
    def _split(texts: tf.Tensor) -> tf.RaggedTensor:
        """Splits prepared texts `[B]` into the units that are counted, `[B, (T)]`."""

    @staticmethod
    def _unit(value: Any) -> str:
        """A counted unit, as it comes out of a tensor, as text."""
        return value.decode()

    @abstractmethod
    def _look_up(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turns prepared texts `[B]` into ids, int32 `[B, (T)]`."""

    @staticmethod
    def _surface(piece: str) -> str:
        """What a piece adds to a text."""
        return piece

    @staticmethod
    def _polish(texts: tf.Tensor) -> tf.Tensor:
        """Finishes texts `[...]` that were made by joining surfaces."""
        return texts


def drop_first_space(texts: tf.Tensor) -> tf.Tensor:
    """Drops one space at the start of each text, where there is one."""
    return tf.strings.regex_replace(texts, r"\A ", "")
