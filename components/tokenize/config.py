"""Configuration of the tokenize stage."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from components.strict import Strict

Size = Annotated[int, Field(ge=5)]


class _Tokenizer(Strict):
    renamed: ClassVar = {
        "lowercase": "case_fold",
        "max_length": "max_sequence_length",
        "cut": "truncation_side, with left for start and right for end",
    }
    normalize: Literal["none", "nfc", "nfkc"] = "nfc"
    """Unicode normalization before anything else."""
    case_fold: bool = False
    """Full Unicode case folding (NFKC_Casefold, which also unifies compatibility forms)."""
    max_sequence_length: Annotated[int, Field(gt=0)] = 256
    """Tokens kept of one text; the rest is cut, in training as in serving."""
    truncation_side: Literal["left", "right"] = "right"
    """Which end of a longer text is cut: a question or a conclusion comes last."""


class _Counted(_Tokenizer):
    min_count: Annotated[int, Field(ge=1)] = 1
    """Rarer tokens become the unknown token."""


class Characters(_Counted):
    """One token a Unicode code point."""

    type: Literal["characters"]
    vocabulary_size: Size = 5_000
    """At most this many tokens, the four special ones included."""


class Words(_Counted):
    """Runs of letters and digits, and single other marks; white space separates and is dropped."""

    type: Literal["words"]
    vocabulary_size: Size = 20_000
    """At most this many tokens, the four special ones included."""


class Whitespace(_Counted):
    """What stands between white space, for text that is tokenized already."""

    type: Literal["whitespace"]
    vocabulary_size: Size = 20_000
    """At most this many tokens, the four special ones included."""


class WordPiece(_Tokenizer):
    """Pieces of words, longest match first (Schuster and Nakajima, 2012)."""

    type: Literal["wordpiece"]
    vocabulary_size: Size = 8_000
    """At most this many tokens, the four special ones included."""


class SentencePiece(_Tokenizer):
    """Pieces of text with their white space, reversible (Kudo and Richardson, 2018)."""

    renamed: ClassVar = {**_Tokenizer.renamed, "model": "model_type"}
    type: Literal["sentencepiece"]
    vocabulary_size: Size = 8_000
    """At most this many tokens, the four special ones included."""
    model_type: Literal["unigram", "bpe"] = "unigram"
    """How the pieces are learnt."""


Tokenizer = Annotated[
    Characters | Words | Whitespace | WordPiece | SentencePiece, Field(discriminator="type")
]


class TokenizeConfig(Strict):
    """The tokenizer of each text column; labels need none."""

    text: Tokenizer | None = None
    """classification: the tokenizer of the text."""
    source: Tokenizer | None = None
    """seq2seq: the tokenizer of the source."""
    target: Tokenizer | None = None
    """seq2seq: the tokenizer of the target."""

    def by_field(self) -> dict[str, Tokenizer]:
        """Returns the tokenizers that there are, by text field."""
        return {field: tokenizer for field, tokenizer in self if tokenizer is not None}
