"""How much of a vocabulary has word vectors, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def told(coverage: Mapping[str, Any]) -> str:
    """Says in a line how much of a vocabulary has vectors.

    Args:
        coverage: as `put_vectors` returns it.
    """
    covered, tokens = coverage["covered"], coverage["tokens"]
    share = f"{covered / max(tokens, 1):.1%} of them, {coverage['text']:.1%} of the text"
    folded = f"; {coverage['folded']:,} by their case-folded form" if coverage["folded"] else ""
    return f"vectors for {covered:,} of {tokens:,} tokens ({share}{folded})"
