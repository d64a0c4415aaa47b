"""Configuration of decoding, shared by evaluation and export."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.strict import Strict


class DecodeConfig(Strict):
    """How a seq2seq model's answer is searched for."""

    beam_width: Annotated[int, Field(ge=1)] = 4
    """Hypotheses kept at each step; 1 is greedy."""
    length_penalty: float = 0.6
    """Scores are divided by ((5 + length) / 6) ** length_penalty (Wu et al., 2016)."""
    max_length: Annotated[int, Field(ge=1)] = 64
    """Longest answer, in target tokens."""
