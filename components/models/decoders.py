"""Configuration of the decoders. `Decoder` is their registry; see components.models.config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from components.models.fields import Activation, Gated, Recurrent

if TYPE_CHECKING:
    import keras


class _RecurrentDecoder(Recurrent):
    def cell(self) -> keras.layers.Layer:
        """Makes one recurrent cell, unbuilt; the decoder asks for one a layer."""
        raise TypeError(f"{type(self).__name__} does not say which cell it stands for.")


class SimpleRNNDecoder(_RecurrentDecoder):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: Activation = "tanh"
    """Of the state."""

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.SimpleRNNCell."""
        from keras import layers

        return layers.SimpleRNNCell(self.units, activation=self.activation)


class GRUDecoder(Gated, _RecurrentDecoder):
    """Gated recurrent units (Cho et al., 2014)."""

    type: Literal["gru"]

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.GRUCell."""
        from keras import layers

        return layers.GRUCell(
            self.units, activation=self.activation, recurrent_activation=self.recurrent_activation
        )


class LSTMDecoder(Gated, _RecurrentDecoder):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    type: Literal["lstm"]

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.LSTMCell."""
        from keras import layers

        return layers.LSTMCell(
            self.units, activation=self.activation, recurrent_activation=self.recurrent_activation
        )


Decoder = Annotated[SimpleRNNDecoder | GRUDecoder | LSTMDecoder, Field(discriminator="type")]
