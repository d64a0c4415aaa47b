"""Scripts that have no spaces between words."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Thai, Lao, Burmese, Khmer; kana; Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_GOOD_PART = 0.3


def unspaced_characters(text: str) -> int:
    """Counts the characters of a text that are of such scripts."""
    return 0 if text.isascii() else sum(1 for _ in _UNSPACED.finditer(text))


def is_unspaced(unspaced: int, characters: int) -> bool:
    """Says whether texts have to be taken apart otherwise than by spaces.

    Args:
        unspaced: characters of such scripts in all texts.
        characters: all of them.
    """
    return unspaced > _GOOD_PART * max(1, characters)


def are_unspaced(texts: Iterable[str]) -> bool:
    """Says the same of some texts."""
    counts = [(unspaced_characters(text), len(text)) for text in texts]
    return is_unspaced(sum(unspaced for unspaced, _ in counts), sum(length for _, length in counts))
