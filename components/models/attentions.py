"""Configuration of the attentions. `Attention` is their registry; see components.models.config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.models.fields import Units
from components.models.pooling import HardSelectionConfig
from components.strict import Strict

if TYPE_CHECKING:
    import keras

Order = Literal["before", "after"]


class _Attention(Strict):
    order: ClassVar[Order] = "before"
    """Whether the decoder reads the source before or after its cells."""

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes the layer.

        Args:
            decoder_units: Width of the decoder's states.
        """
        raise TypeError(f"{type(self).__name__} does not say which layer it stands for.")


class _AdditiveAttention(_Attention):
    units: Units | None = None
    """Width of the score's hidden layer; the decoder's units by default."""


class BahdanauAttentionConfig(_AdditiveAttention):
    """Additive attention (Bahdanau et al., 2015)."""

    type: Literal["bahdanau"]

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.BahdanauAttention."""
        from layers import BahdanauAttention

        return BahdanauAttention(self.units or decoder_units, name="attention")


class LuongAttentionConfig(_Attention):
    """Multiplicative attention, global or local, after the decoder's cells (Luong et al., 2015)."""

    type: Literal["luong"]
    order: ClassVar[Order] = "after"
    score: Literal["dot", "general", "concat"] = "general"
    """How query and source are compared: by their product (dot; the decoder must be as wide as the encoder's
    outputs), with a matrix between them (general), or by a hidden layer (concat)."""
    window: Units | None = None
    """Positions read to either side of one that is predicted at every step (local-p); all if not given."""
    units: Units | None = None
    """Width of the hidden layers of concat and of the predicted position; the decoder's units by default."""

    @model_validator(mode="after")
    def _units_are_used(self) -> LuongAttentionConfig:
        if self.units is not None and self.score != "concat" and self.window is None:
            raise ValueError(
                f"units received {self.units} for the score {self.score} without a window, which has no "
                "hidden layer; remove units, or set score to concat"
            )
        return self

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.LuongAttention."""
        from layers import LuongAttention

        return LuongAttention(self.score, window=self.window, units=self.units, name="attention")


class MonotonicAttentionConfig(_AdditiveAttention):
    """Attention that reads the source from left to right, hard at inference (Raffel et al., 2017)."""

    type: Literal["monotonic"]
    training_only: ClassVar = frozenset({"noise"})
    noise: float = Field(default=1.0, ge=0)
    """Standard deviation of the noise that makes the choices sharp in training."""
    score_bias: float = -4.0
    """Where the bias of the choices starts; the longer the sources, the lower."""

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.MonotonicAttention."""
        from layers import MonotonicAttention

        return MonotonicAttention(
            self.units or decoder_units,
            noise_stddev=self.noise,
            score_bias=self.score_bias,
            name="attention",
        )


class HardAttentionConfig(HardSelectionConfig, _AdditiveAttention):
    """Additive attention that reads one position at a time, sampled in training (Xu et al., 2015)."""

    type: Literal["hard"]

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.HardAttention."""
        from layers import HardAttention

        return HardAttention(self.units or decoder_units, selection=self.selection(), name="attention")


Attention = Annotated[
    BahdanauAttentionConfig | LuongAttentionConfig | MonotonicAttentionConfig | HardAttentionConfig,
    Field(discriminator="type"),
]
