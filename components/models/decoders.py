"""Configuration of the decoders. `DECODERS` is their registry."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from components.models.fields import Activation, Clockwork, Gated, GatedMemory, Recurrent
from components.plugins import Pluggable
from components.registry import Registry

if TYPE_CHECKING:
    import keras


class DecoderConfig(Recurrent, Pluggable):
    """The section `model.decoder`: a stack of recurrent cells.

    Only `cell` must be defined. A class in a module of your own is named as `type: my_module:MyDecoder`.
    """

    hidden_states: ClassVar[int] = 1
    """How many of a cell's states are vectors as wide as `units`, which a bridge may set; they come first."""
    residual: bool = False
    """Adds each layer's input to its output, from the second layer on."""
    encoder_residual: bool = False
    """Adds a linear map of the encoder's final state to what the first layer reads at every step, and another
    to what the last one returns (Cho et al., 2014)."""
    input_feeding: bool = False
    """With luong attention: the decoder also reads what it made of the source one step before (Luong et al.,
    2015)."""

    @abstractmethod
    def cell(self) -> keras.layers.Layer:
        """Makes one recurrent cell, unbuilt; the decoder asks for one a layer."""


class SimpleRNNDecoder(DecoderConfig):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: Activation = "tanh"
    """Of the state."""

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.SimpleRNNCell."""
        from keras import layers

        return layers.SimpleRNNCell(self.units, activation=self.activation)


class GRUDecoder(Gated, DecoderConfig):
    """Gated recurrent units (Cho et al., 2014)."""

    type: Literal["gru"]

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.GRUCell."""
        from keras import layers

        return layers.GRUCell(
            self.units, activation=self.activation, recurrent_activation=self.recurrent_activation
        )


class LSTMDecoder(GatedMemory, DecoderConfig):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    hidden_states: ClassVar[int] = 2
    type: Literal["lstm"]

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.LSTMCell, or with other gates layers.LSTMVariantCell."""
        if self.has_keras_gates:
            from keras.layers import LSTMCell

            return LSTMCell(self.units, **self.gate_arguments)
        from layers import LSTMVariantCell

        return LSTMVariantCell(self.units, **self.gate_arguments)


class ClockworkRNNDecoder(Clockwork, DecoderConfig):
    """Groups of units that run at periods of their own (Koutnik et al., 2014)."""

    type: Literal["clockwork_rnn"]

    def cell(self) -> keras.layers.Layer:
        """Makes layers.ClockworkRNNCell."""
        from layers import ClockworkRNNCell

        return ClockworkRNNCell(self.units, periods=self.periods, activation=self.activation)


DECODERS = Registry(__name__, DecoderConfig, [SimpleRNNDecoder, GRUDecoder, LSTMDecoder, ClockworkRNNDecoder])
Decoder = Annotated[DecoderConfig, DECODERS]
