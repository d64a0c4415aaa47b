"""The tokenizer that suits texts: the rules of `type: auto`, and of `rnnpipe init`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from components.strict import Task
from components.tokenize.lengths import Lengths, percentile

_SHORT = 40  # characters; 95 % of names, dates and words have fewer
_FEW_WORDS = 3
_SUBWORDS_FROM = 200_000  # words in all texts, from which pieces of words are learnt well
# From so many words in all texts, a vocabulary of so many pieces, and how many of them make a word.
_VOCABULARIES = ((_SUBWORDS_FROM, 8_000, 1.3), (20_000, 2_000, 1.7), (0, 500, 2.5))
_RARE_FROM = 5_000  # words in all texts, from which those that occur once are left out
LONGEST = 512
"""Tokens kept of a text at most: a recurrent encoder reads one after the other."""


class Kind(NamedTuple):
    """A type of tokenizer for a field.

    Args:
        settings: of its section, without `max_sequence_length`.
        why: in words.
        tokens: about how many of them stand for a word, where that is not known before they are learnt.
    """

    settings: dict[str, Any]
    why: str
    tokens: float | None = None


class Length(NamedTuple):
    """How much of a text is kept.

    Args:
        tokens: at most so many.
        why: in words.
    """

    tokens: int
    why: str


def choose_kind(lengths: Lengths, total: int, task: Task) -> Kind:
    """Chooses the type of a field's tokenizer.

    Args:
        lengths: of the field's texts, or of a sample of them.
        total: examples to train on.
        task: seq2seq wants text that can be put together again as it was.
    """
    if lengths.is_unspaced:
        return Kind({"type": "characters"}, "the script has no spaces")
    if percentile(lengths.characters, 95) <= _SHORT or percentile(lengths.words, 95) <= _FEW_WORDS:
        return Kind({"type": "characters"}, "the texts are short")
    every_word = sum(lengths.words) / len(lengths.words) * total
    if every_word < _SUBWORDS_FROM and task == "classification":
        settings = {"type": "words", "case_fold": True, "min_count": 2 if every_word > _RARE_FROM else 1}
        return Kind(settings, f"about {every_word:,.0f} in all are too few to learn pieces of words from")
    size, tokens = next((size, tokens) for least, size, tokens in _VOCABULARIES if every_word >= least)
    size = max(size, least_pieces(len(lengths.alphabet)))
    settings = {"type": "sentencepiece", "vocabulary_size": size}
    return Kind(settings, f"pieces of words, of sentences with about {every_word:,.0f} words in all", tokens)


def least_pieces(characters: int) -> int:
    """Returns the size of a vocabulary in which half of the pieces at least are longer than a character."""
    return 100 * -(-2 * characters // 100)


def choose_length(field: str, lengths: Sequence[int], told: str) -> Length:
    """Chooses `max_sequence_length`: of what is read the 95th percentile, of an answer all of it, rounded up.

    From answers that are cut, a model would learn to stop early.

    Args:
        field: text, source or target.
        lengths: of its texts, in tokens.
        told: what is counted, as a reason says it; empty for tokens.
    """
    wanted = percentile(lengths, 100 if field == "target" else 95)
    share = "the targets that were looked at have" if field == "target" else f"95 % of the {field}s have"
    why = f"{share} at most {wanted:,}{f' {told}' if told else ''}"
    tokens = min(LONGEST, _rounded(wanted))
    if tokens < wanted:
        why += f", but more than {LONGEST} take a recurrent network too long: the rest is cut"
    return Length(tokens, why)


def _rounded(length: int) -> int:
    step = 8 if length <= 64 else 32
    return max(step, -(-length // step) * step)
