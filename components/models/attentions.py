"""Configuration of the attentions. `ATTENTIONS` is their registry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.models.fields import Units
from components.models.pooling import HardSelectionConfig
from components.plugins import Pluggable
from components.registry import Registry

if TYPE_CHECKING:
    import keras

Order = Literal["before", "after"]


class AttentionConfig(Pluggable):
    """The section `model.attention`: how the decoder looks at the source.

    Only `attention` must be defined; the layer is one of those in `layers.attention`, or of their form. A
    class in a module of your own is named as `type: my_module:MyAttention`.
    """

    order: ClassVar[Order] = "before"
    """Whether the decoder reads the source before or after its cells."""

    @abstractmethod
    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes the layer.

        Args:
            decoder_units: Width of the decoder's states.
        """

    def check_widths(self, encoder_width: int, decoder_units: int) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yields which key does not suit the widths of both sides, and why; by default nothing.

        Args:
            encoder_width: Width of the encoder's outputs.
            decoder_units: Width of the decoder's states.
        """
        yield from ()


class _AdditiveAttention(AttentionConfig):
    units: Units | None = None
    """Width of the score's hidden layer; the decoder's units by default."""


class BahdanauAttentionConfig(_AdditiveAttention):
    """Additive attention (Bahdanau et al., 2015)."""

    type: Literal["bahdanau"]

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.BahdanauAttention."""
        from layers import BahdanauAttention

        return BahdanauAttention(self.units or decoder_units, name="attention")


class LuongAttentionConfig(AttentionConfig):
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

    def check_widths(self, encoder_width: int, decoder_units: int) -> Iterator[tuple[tuple[str, ...], str]]:
        """A product needs two vectors of one width."""
        if self.score == "dot" and encoder_width != decoder_units:
            yield (
                ("score",),
                f"received 'dot' for an encoder of width {encoder_width} and a decoder of width "
                f"{decoder_units}, expected equal widths; make them so, or set score to general",
            )

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.LuongAttention."""
        from layers import LuongAttention

        return LuongAttention(self.score, window=self.window, units=self.units, name="attention")


class MonotonicAttentionConfig(_AdditiveAttention):
    """Attention that reads the source from left to right, hard at inference (Raffel et al., 2017)."""

    type: Literal["monotonic"]
    training_only: ClassVar[frozenset[str]] = frozenset({"noise"})
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


ATTENTIONS = Registry(
    __name__,
    AttentionConfig,
    [BahdanauAttentionConfig, LuongAttentionConfig, MonotonicAttentionConfig, HardAttentionConfig],
)
Attention = Annotated[AttentionConfig, ATTENTIONS]
