"""How much a classifier drops out where nothing is said of it."""

from __future__ import annotations

from components.tokenize.config import TokenizerConfig

_RATE = 0.5  # as Kim (2014) has it for words


def default_dropout(tokenizer: TokenizerConfig) -> tuple[float, str]:
    """Chooses `model.dropout` of a classifier.

    Args:
        tokenizer: of the text.

    Returns:
        The rate, and why, in words.
    """
    if tokenizer.rarely_seen:
        return _RATE, f"dropout {_RATE}, as most words are seen too rarely to be learnt by heart"
    return 0.0, "no dropout, as every character is seen often"
