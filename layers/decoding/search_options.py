"""What a beam search looks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from layers import _validation

LengthNormalization: TypeAlias = Literal["gnmt", "average"]


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What `BeamSearchDecoder` looks for, and how; its docstring says what the options mean together.

    Args:
        beam_size: Integer, the number of unfinished hypotheses of each row. Defaults to 4.
        max_length: Integer, the largest number of tokens, not counting the end token. Defaults to 64.
        n_best: Integer, the number of hypotheses returned for each row, at most `beam_size`. Defaults to 1.
        min_length: Integer, the smallest number of tokens, not counting the end token. Defaults to 0.
        length_penalty: Float, above 0 in favour of long sequences, below 0 of short ones. Defaults to 0.
        length_normalization: `"gnmt"` or `"average"`: whether a length `L` counts as `(5 + L) / 6` or as `L`.
            Defaults to `"gnmt"`.
        coverage_penalty: Float of at least 0, how much sequences are favoured that have looked at all of the
            source; needs a step that returns its attention. Defaults to 0.
        no_repeat_ngram_size: Integer, no sequence contains the same tokens, so many in a row, twice; forced
            ones may. 0 lets sequences repeat. Defaults to 0.
        sample: Whether to draw tokens. Defaults to `False`.
        temperature: Float above 0, what log probabilities are divided by before a token is drawn. Defaults
            to 1.
        top_k: Integer, draw from so many most probable tokens only; 0 for all. Defaults to 0.
        top_p: Float in (0, 1], draw from the fewest most probable tokens only that are together at least this
            probable. Defaults to 1.
        num_beam_groups: Integer that divides `beam_size`, the number of groups. Defaults to 1.
        diversity_penalty: Float of at least 0, how much groups avoid each other's tokens. Defaults to 0.
        start_id: Integer, the token that the step gets first. Defaults to 2.
        end_id: Integer, the token that ends a sequence. Defaults to 3.
        pad_id: Integer, what the sequences returned hold behind their last token. Defaults to 0.
        forbidden_ids: Integers, the tokens that are never produced. Defaults to `pad_id` and `start_id`, but
            for the end token.
        seed: Integer of at least 0, the seed of the draws where a call gives none. Defaults to 0.

    Attributes:
        length_weights: Float32 array of shape `(max_length + 2,)`, by which the log probability of a
            hypothesis of so many tokens, its end token among them, is multiplied.

    Raises:
        ValueError: If an option is not what it should be, or if two contradict each other.

    Example:
    ```python
    options = SearchOptions(beam_size=5, max_length=30, length_penalty=0.6)
    wider = dataclasses.replace(options, beam_size=10)
    ```

    References:
        - [Google's Neural Machine Translation System](https://arxiv.org/abs/1609.08144) (Wu et al., 2016),
          section 7, for the penalties
        - [Diverse Beam Search](https://arxiv.org/abs/1610.02424) (Vijayakumar et al., 2018)
        - [The Curious Case of Neural Text Degeneration](https://arxiv.org/abs/1904.09751) (Holtzman et al.,
          2020), nucleus sampling
    """

    beam_size: int = 4
    max_length: int = 64
    n_best: int = 1
    min_length: int = 0
    length_penalty: float = 0.0
    length_normalization: LengthNormalization = "gnmt"
    coverage_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    start_id: int = 2
    end_id: int = 3
    pad_id: int = 0
    forbidden_ids: Sequence[int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_values()
        by_default = {self.pad_id, self.start_id} - {self.end_id}
        forbidden = by_default if self.forbidden_ids is None else set(self.forbidden_ids)
        object.__setattr__(self, "forbidden_ids", tuple(sorted(forbidden)))
        self._check_lengths()
        self._check_ids()
        self._check_penalties()
        self._check_sampling()
        self._check_groups()

    def get_config(self) -> dict[str, Any]:
        """Returns the options as plain data, as JSON has it."""
        return {**dataclasses.asdict(self), "forbidden_ids": list(self.forbidden_ids or ())}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SearchOptions:
        """Restores options from what `get_config` returned."""
        return cls(**config)

    @cached_property
    def length_weights(self) -> np.ndarray:
        """What multiplies the log probability of a hypothesis, by its number of tokens."""
        # A product is rounded alike everywhere, while graphs replace some quotients. In double precision the
        # weights are monotone, and still are when rounded to float32, as the search needs to stop safely.
        lengths = np.maximum(np.arange(self.max_length + 2), 1)
        normalized = (5 + lengths) / 6 if self.length_normalization == "gnmt" else lengths * 1.0
        with np.errstate(over="ignore"):
            return (normalized**-self.length_penalty).astype("float32")

    def _check_values(self) -> None:
        for name in ("beam_size", "n_best", "max_length", "num_beam_groups"):
            _validation.positive_integer(name, getattr(self, name))
        for name in ("min_length", "no_repeat_ngram_size", "top_k", "start_id", "end_id", "pad_id", "seed"):
            _validation.non_negative_integer(name, getattr(self, name))
        for token in self.forbidden_ids or ():
            _validation.non_negative_integer("forbidden_ids", token)
        _validation.finite_float("length_penalty", self.length_penalty)
        _validation.non_negative_float("coverage_penalty", self.coverage_penalty)
        _validation.non_negative_float("diversity_penalty", self.diversity_penalty)
        _validation.positive_float("temperature", self.temperature)
        _validation.fraction("top_p", self.top_p, zero=False)
        _validation.one_of("length_normalization", self.length_normalization, get_args(LengthNormalization))
        _validation.boolean("sample", self.sample)

    def _check_lengths(self) -> None:
        if self.n_best > self.beam_size:
            raise ValueError(
                f"Received n_best={self.n_best} and beam_size={self.beam_size}; expected "
                "n_best <= beam_size. Widen the beam or ask for fewer hypotheses."
            )
        if self.min_length > self.max_length:
            raise ValueError(
                f"Received min_length={self.min_length} and max_length={self.max_length}; expected "
                "min_length <= max_length. Change one of them."
            )

    def _check_ids(self) -> None:
        forbidden = list(self.forbidden_ids or ())
        if self.end_id in forbidden:
            raise ValueError(
                f"Received end_id={self.end_id} and forbidden_ids={forbidden}; expected an end_id that is "
                "not forbidden. Take the ids from the tokenizer."
            )

    def _check_penalties(self) -> None:
        weights = self.length_weights
        if not (weights.min() > 1e-30 and weights.max() < 1e30):
            raise ValueError(
                f"Received length_penalty={self.length_penalty} with max_length={self.max_length}; expected "
                "penalties of L tokens to the power of length_penalty that float32 can hold. Take a number "
                "nearer to 0."
            )

    def _check_sampling(self) -> None:
        received = f"Received temperature={self.temperature}, top_k={self.top_k} and top_p={self.top_p}"
        if not self.sample and (self.temperature, self.top_k, self.top_p) != (1, 0, 1):
            raise ValueError(
                f"{received} with sample=False; expected their defaults, as a search draws nothing. Set "
                "sample=True."
            )

    def _check_groups(self) -> None:
        if self.beam_size % self.num_beam_groups:
            raise ValueError(
                f"Received num_beam_groups={self.num_beam_groups} and beam_size={self.beam_size}; expected a "
                "number of groups that divides the beam. Widen the beam to a multiple of groups."
            )
        if self.num_beam_groups > 1 and self.sample:
            raise ValueError(
                f"Received num_beam_groups={self.num_beam_groups} with sample=True; expected "
                "num_beam_groups=1, as draws are diverse without groups."
            )
        if self.diversity_penalty and self.num_beam_groups == 1:
            raise ValueError(
                f"Received diversity_penalty={self.diversity_penalty} with num_beam_groups=1; expected more "
                "groups, which are to differ. Set groups, such as num_beam_groups=beam_size."
            )
