"""Convolutions over the text as encoders, alone or before recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from components.models.encoders.base import EncoderConfig
from components.models.encoders.recurrent import StackedEncoderConfig
from components.models.fields import Activation, Count, Units

if TYPE_CHECKING:
    import keras


class CNNLSTMEncoder(StackedEncoderConfig):
    """Convolution and pooling shorten the text before LSTMs read it (Zhou et al., 2015)."""

    type: Literal["cnn_lstm"]
    hidden_states: ClassVar[int] = 2
    filters: Units = 64
    """Outputs of the convolution."""
    kernel_size: Count = 5
    """Steps that one output of the convolution sees."""
    pool_size: Count = 2
    """Steps that are pooled into one by their maximum."""
    activation: Activation = "relu"
    """Of the convolution."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.CNNLSTM."""
        from layers import CNNLSTM

        return CNNLSTM(
            self.units,
            filters=self.filters,
            kernel_size=self.kernel_size,
            pool_size=self.pool_size,
            activation=self.activation,
            depth=self.num_layers,
            bidirectional=self.bidirectional,
            residual=self.residual,
            dropout=self.dropout,
            name="encoder",
        )


class TextCNNEncoder(EncoderConfig):
    """Convolutions of several widths side by side; its final state is their maximum over time (Kim, 2014)."""

    renamed: ClassVar[Mapping[str, str]] = {"widths": "kernel_sizes"}
    type: Literal["text_cnn"]
    default_pooling = "last"
    filters: Units = 100
    """Outputs of each width."""
    kernel_sizes: list[Count] = Field(default=[3, 4, 5], min_length=1)
    """Steps that the convolutions see."""
    activation: Activation = "relu"
    """Of the convolutions."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.TextCNN."""
        from layers import TextCNN

        return TextCNN(
            self.filters, kernel_sizes=self.kernel_sizes, activation=self.activation, name="encoder"
        )

    def final_states(self) -> list[list[int]] | None:
        """One, with the maxima of all features."""
        return [[self.filters * len(self.kernel_sizes)]]
