"""The tokenize stage's artifact: vocabularies, and the examples as numbers."""

from __future__ import annotations

from typing import ClassVar

from components.artifacts.artifact import Artifact


class Tokens(Artifact):
    """Tokenizers and labels, token ids in Parquet, and what is known about them."""

    stage = "tokenize"
    parts: ClassVar = {
        "vocabulary": ("tokenizer/",),
        "train": ("tokens/train-",),
        "validation": ("tokens/validation-",),
        "test": ("tokens/test-",),
        "report": ("statistics.json",),
    }
