"""Tokenizers: strings to ids and back, by the same ops in the Beam job, in training and in serving.

A new type is a configuration class in `components.tokenize.config`, entered in its `TOKENIZERS` or named as
`my_module:MyTokenizer`, and a subclass of `Tokenizer`, which that class names.
"""

from __future__ import annotations

import json
from pathlib import Path

from components.artifacts.tokens import TOKENIZER_FILE
from components.errors import UserError
from components.tokenize.config import tokenizer_config
from components.tokenize.tokenizers.base import (
    END,
    PAD,
    SPECIAL_TOKENS,
    START,
    UNKNOWN,
    Tokenizer,
)
from components.tokenize.tokenizers.characters import CharacterTokenizer
from components.tokenize.tokenizers.sentencepiece import SentencePieceTokenizer
from components.tokenize.tokenizers.wordpiece import WordPieceTokenizer
from components.tokenize.tokenizers.words import WhitespaceTokenizer, WordTokenizer

__all__ = [
    "END",
    "PAD",
    "SPECIAL_TOKENS",
    "START",
    "UNKNOWN",
    "CharacterTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WhitespaceTokenizer",
    "WordPieceTokenizer",
    "WordTokenizer",
    "load_tokenizer",
]


def load_tokenizer(directory: str) -> Tokenizer:
    """Loads what `Tokenizer.save` wrote.

    Args:
        directory: one tokenizer's folder on this machine, such as `tokenizer/text` of the artifact.

    Returns:
        The tokenizer, giving the same ids as the one that was saved.

    Raises:
        UserError: there is no tokenizer in that folder.
    """
    path = Path(directory, TOKENIZER_FILE)
    if not path.is_file():
        raise UserError(
            f"{directory} holds no tokenizer: expected a file {TOKENIZER_FILE} in it. Name the folder of one "
            f"field, such as tokenizer/text in the artifact of the tokenize stage."
        )
    settings = json.loads(path.read_bytes())
    config = tokenizer_config(settings["config"])
    return config.tokenizer().load(directory, config, settings["pieces"])
