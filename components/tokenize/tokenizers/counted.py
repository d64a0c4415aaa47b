"""Vocabularies whose tokens are the counted units themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from components.errors import UserError
from components.tokenize.config import Characters, Whitespace, Words
from components.tokenize.tokenizers.base import SPECIAL_TOKENS, Tokenizer

Config = TypeVar("Config", bound=Characters | Words | Whitespace)


class CountedTokenizer(Tokenizer[Config]):
    """Keeps the most frequent units as they are."""

    @classmethod
    def most_units(cls, config: Config) -> int:
        """As many as fit into the vocabulary."""
        return config.vocabulary_size - len(SPECIAL_TOKENS)

    @classmethod
    def learn(cls, config: Config, counts: Sequence[tuple[str, int]]) -> Tokenizer[Config]:
        """Keeps the most frequent units, in their order; one written as a special token stays unknown."""
        units: list[str] = [
            unit for unit, count in counts if count >= config.min_count and unit not in SPECIAL_TOKENS
        ]
        if not units:
            raise UserError(
                f"min_count is {config.min_count}, but the most frequent of the {config.type} occurs only "
                f"{counts[0][1]} times in the train split. Lower min_count to {counts[0][1]} or less."
            )
        return cls(config, [*SPECIAL_TOKENS, *units][: config.vocabulary_size])

    def _missing(self, config: Config, counts: Sequence[tuple[str, int]]) -> list[str]:
        known = set(self.pieces)  # the special tokens among them
        return [unit for unit, count in counts if count >= config.min_count and unit not in known]
