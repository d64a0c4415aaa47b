"""How long texts are, and which script they are in: what a tokenizer is chosen by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from components.scripts import is_unspaced, unspaced_characters

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass
class Lengths:
    """How long the texts of a field are.

    Attributes:
        characters: of every text.
        words: of every text, marks included.
        unspaced: characters of scripts without spaces, in all texts.
        alphabet: the distinct characters.
    """

    characters: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    unspaced: int = 0
    alphabet: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Lengths:
        """Counts some texts."""
        lengths = cls()
        for text in texts:
            lengths.add(text)
        return lengths

    def add(self, text: str) -> None:
        """Counts one text."""
        self.characters.append(len(text))
        self.words.append(sum(1 for _ in _WORD.finditer(text)))
        self.alphabet.update(text)
        self.unspaced += unspaced_characters(text)

    @property
    def is_unspaced(self) -> bool:
        """Whether a good part of the characters is of scripts without spaces."""
        return is_unspaced(self.unspaced, sum(self.characters))


def percentile(lengths: Iterable[int], percent: float) -> int:
    """Returns the length that so many percent do not exceed; 0 of none."""
    ordered = sorted(lengths)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0
