"""Configuration of the tokenize stage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter

from components.plugins import Pluggable
from components.registry import Registry
from components.strict import Strict

if TYPE_CHECKING:
    from components.tokenize.tokenizers.base import Tokenizer as _Tokenizer

    TokenizerClass = type[_Tokenizer[Any]]  # within a section, `type` is a key

Size = Annotated[int, Field(ge=5)]


class _TextSection(Pluggable):
    renamed: ClassVar[Mapping[str, str]] = {
        "lowercase": "case_fold",
        "max_length": "max_sequence_length",
        "cut": "truncation_side, with left for start and right for end",
    }
    normalize: Literal["none", "nfc", "nfkc"] = "nfc"
    """Unicode normalization before anything else."""
    truncation_side: Literal["left", "right"] = "right"
    """Which end of a longer text is cut: a question or a conclusion comes last."""


class TokenizerConfig(_TextSection):
    """The section of a text's tokenizer.

    Only `tokenizer` must be defined. A class in a module of your own is named as
    `type: my_module:MyTokenizer`.
    """

    rarely_seen: ClassVar[bool] = True
    """Whether most of its tokens are rare in the texts, as words are and characters are not."""
    case_fold: bool = False
    """Full Unicode case folding (NFKC_Casefold, which also unifies compatibility forms)."""
    max_sequence_length: Annotated[int, Field(gt=0)] = 256
    """Tokens kept of one text; the rest is cut, in training as in serving."""
    vocabulary_size: Size = 20_000
    """At most this many tokens, the four special ones included."""

    @abstractmethod
    def tokenizer(self) -> TokenizerClass:
        """Returns the class that learns from texts, and turns them into ids and back."""


class _Counted(TokenizerConfig):
    min_count: Annotated[int, Field(ge=1)] = 1
    """Rarer tokens become the unknown token."""


class Characters(_Counted):
    """One token a Unicode code point."""

    rarely_seen: ClassVar[bool] = False
    type: Literal["characters"]
    vocabulary_size: Size = 5_000
    """At most this many tokens, the four special ones included."""

    def tokenizer(self) -> TokenizerClass:
        """Returns CharacterTokenizer."""
        from components.tokenize.tokenizers.characters import CharacterTokenizer

        return CharacterTokenizer


class Words(_Counted):
    """Runs of letters and digits, and single other marks; white space separates and is dropped."""

    type: Literal["words"]

    def tokenizer(self) -> TokenizerClass:
        """Returns WordTokenizer."""
        from components.tokenize.tokenizers.words import WordTokenizer

        return WordTokenizer


class Whitespace(_Counted):
    """What stands between white space, for text that is tokenized already."""

    type: Literal["whitespace"]

    def tokenizer(self) -> TokenizerClass:
        """Returns WhitespaceTokenizer."""
        from components.tokenize.tokenizers.words import WhitespaceTokenizer

        return WhitespaceTokenizer


class WordPiece(TokenizerConfig):
    """Pieces of words, longest match first (Schuster and Nakajima, 2012)."""

    type: Literal["wordpiece"]
    vocabulary_size: Size = 8_000
    """At most this many tokens, the four special ones included."""

    def tokenizer(self) -> TokenizerClass:
        """Returns WordPieceTokenizer."""
        from components.tokenize.tokenizers.wordpiece import WordPieceTokenizer

        return WordPieceTokenizer


class SentencePiece(TokenizerConfig):
    """Pieces of text with their white space, reversible (Kudo and Richardson, 2018)."""

    renamed: ClassVar[Mapping[str, str]] = {**TokenizerConfig.renamed, "model": "model_type"}
    type: Literal["sentencepiece"]
    vocabulary_size: Size = 8_000
    """At most this many tokens, the four special ones included."""
    model_type: Literal["unigram", "bpe"] = "unigram"
    """How the pieces are learnt."""

    def tokenizer(self) -> TokenizerClass:
        """Returns SentencePieceTokenizer."""
        from components.tokenize.tokenizers.sentencepiece import SentencePieceTokenizer

        return SentencePieceTokenizer


class Auto(_TextSection):
    """Chosen from the train split, by the length and the script of its texts.

    Characters for short texts and for scripts without spaces, otherwise words, or from 200,000 words in all
    (seq2seq: always) sentencepiece. With `train.init_from` it is the earlier model's tokenizer.
    """

    type: Literal["auto"] = "auto"
    case_fold: bool | None = None
    """Full Unicode case folding; if nothing is said, words are folded."""
    max_sequence_length: Annotated[int, Field(gt=0)] | None = None
    """Tokens kept of one text; if nothing is said, so many that 95 % of the texts (seq2seq: all targets) are
    whole, rounded up, and at most 512."""
    vocabulary_size: Size | None = None
    """At most this many tokens; if nothing is said, it follows from the type and how many words there are."""

    def resolved(self, settings: Mapping[str, Any]) -> TokenizerConfig:
        """Returns the tokenizer with what was chosen; what is written here comes first.

        Args:
            settings: that were chosen, `type` among them.
        """
        written = self.model_dump(exclude={"type"}, exclude_none=True)
        return tokenizer_config({**settings, **written})


TOKENIZERS = Registry(
    __name__, TokenizerConfig, [Characters, Words, Whitespace, WordPiece, SentencePiece, Auto]
)
Tokenizer = Annotated[TokenizerConfig | Auto, TOKENIZERS]


def tokenizer_config(data: Mapping[str, Any]) -> TokenizerConfig:
    """Returns the section of a tokenizer of a known type, of plain data."""
    config = TypeAdapter[TokenizerConfig | Auto](Tokenizer).validate_python(data)
    assert not isinstance(config, Auto), data
    return config


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
