"""Configuration of decoding, shared by evaluation and export."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.strict import Strict

if TYPE_CHECKING:
    from layers import SearchOptions

Count = Annotated[int, Field(ge=1)]
CountOrOff = Annotated[int, Field(ge=0)]


class DecodeConfig(Strict):
    """How a seq2seq model's answer is searched for, or drawn."""

    renamed: ClassVar[Mapping[str, str]] = {
        "beam_width": "beam_size",
        "max_length": "max_decoding_length",
        "no_repeat_ngram": "no_repeat_ngram_size",
        "groups": "num_beam_groups",
        "diversity": "diversity_penalty",
    }

    beam_size: Count = 4
    """Hypotheses kept at each step; 1 is greedy. With `sample`: answers drawn, of which the best is taken."""
    n_best: Count | None = None
    """Answers that the signature `n_best` gives to one text, at most `beam_size`, which is the default."""
    length_penalty: float = 0.6
    """Log probabilities are divided by the normalized length to this power (Wu et al., 2016); above 0 it
    favours long answers."""
    length_normalization: Literal["gnmt", "average"] = "gnmt"
    """How lengths are normalized: `gnmt` is (5 + length) / 6, `average` the length itself."""
    coverage_penalty: Annotated[float, Field(ge=0)] = 0.0
    """How much answers are favoured that have looked at all of the source (Wu et al., 2016). Needs
    `model.attention`."""
    min_length: CountOrOff = 0
    """Shortest answer, in target tokens."""
    max_decoding_length: Count = 64
    """Longest answer, in target tokens."""
    no_repeat_ngram_size: CountOrOff = 0
    """No answer has the same tokens, so many in a row, twice; 0 lets answers repeat."""
    prefix: str | None = None
    """Text that every answer begins with, as the target's tokenizer writes it. It counts for `min_length` and
    `max_decoding_length`, but not for the score."""
    num_beam_groups: Count = 1
    """Groups of hypotheses that are searched side by side (Vijayakumar et al., 2018); must divide
    `beam_size`."""
    diversity_penalty: Annotated[float, Field(ge=0)] = 0.0
    """How much groups avoid each other's tokens."""
    sample: bool = False
    """Draws tokens by their probability instead of searching. A text always gets the same answer."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """With `sample`: log probabilities are divided by it; below 1 probable tokens are drawn more often."""
    top_k: CountOrOff = 0
    """With `sample`: only so many most probable tokens are drawn; 0 for all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """With `sample`: only the fewest most probable tokens are drawn that are together at least this probable
    (Holtzman et al., 2020)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """With `sample`: another seed draws other answers."""

    def search_options(self, n_best: int) -> SearchOptions:
        """Makes the options of the search, but for the prefix, which each call gives.

        Args:
            n_best: answers wanted of each text.
        """
        from layers import SearchOptions

        settings = self.model_dump(exclude={"n_best", "prefix", "max_decoding_length"})
        return SearchOptions(**settings, max_length=self.max_decoding_length, n_best=n_best)

    @model_validator(mode="after")
    def _fits_together(self) -> DecodeConfig:
        if self.n_best is not None and self.n_best > self.beam_size:
            raise ValueError(f"n_best received {self.n_best}, expected at most beam_size ({self.beam_size})")
        if self.min_length > self.max_decoding_length:
            raise ValueError(
                f"min_length received {self.min_length}, expected at most max_decoding_length "
                f"({self.max_decoding_length})"
            )
        if self.prefix == "":
            raise ValueError("prefix received no text; remove it, or say what answers begin with")
        if self.beam_size % self.num_beam_groups:
            raise ValueError(
                f"num_beam_groups received {self.num_beam_groups}, expected a divisor of beam_size "
                f"({self.beam_size})"
            )
        if self.diversity_penalty and self.num_beam_groups == 1:
            raise ValueError(
                f"diversity_penalty received {self.diversity_penalty} for a single group; set "
                "num_beam_groups, or remove it"
            )
        self._check_sampling()
        self._check_length_penalty()
        return self

    def _check_length_penalty(self) -> None:
        longest = self.max_decoding_length + 1
        normalized = (5 + longest) / 6 if self.length_normalization == "gnmt" else longest
        if abs(self.length_penalty) * math.log10(normalized) >= 30:
            raise ValueError(
                f"length_penalty received {self.length_penalty}, by which answers of max_decoding_length "
                f"({self.max_decoding_length}) would be divided by more than float32 can hold; take a "
                "number nearer to"
                " 0"
            )

    def _check_sampling(self) -> None:
        if self.sample and self.num_beam_groups > 1:
            raise ValueError(
                f"num_beam_groups received {self.num_beam_groups} with sample, whose draws differ by "
                "themselves; remove it"
            )
        for name in ("temperature", "top_k", "top_p", "seed"):
            if not self.sample and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} received {getattr(self, name)}, but nothing is drawn; set sample to true, or "
                    "remove it"
                )
