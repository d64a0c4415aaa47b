"""Configuration of the models, and the registry of layer types.

Each union at the end of a section is the registry of that kind of layer: a new type is one class with its
`type` name and a method that makes the layer, added to the union; the schema, the error messages and the
models follow from it. Keras is imported only when a layer is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from components.strict import Strict

if TYPE_CHECKING:
    import keras

Units = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]

# Keras' own that need no arguments and keep the width; named here so that a slip shows before Keras loads.
Activation = Literal[
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
]


class _Recurrent(Strict):
    units: Units = 128
    """Units of each layer, in each direction."""
    layers: Annotated[int, Field(ge=1)] = 1
    """How many such layers stand on each other."""
    dropout: Rate = 0.0
    """Fraction of each layer's inputs dropped in training."""


class _RecurrentEncoder(_Recurrent):
    bidirectional: bool = False
    """Reads the text in both directions and concatenates the two outputs."""
    residual: bool = False
    """Adds each layer's input to its output, from the second layer on."""

    def layer(self) -> keras.layers.RNN:
        """Makes one recurrent layer, unbuilt: the template of the stack."""
        raise TypeError(f"{type(self).__name__} does not say which layer it stands for.")

    def encoder(self) -> keras.layers.Layer:
        """Makes the encoder: (inputs [B, T, E], mask [B, T]) -> (outputs [B, T, D], final states)."""
        from layers import RecurrentStack

        return RecurrentStack(
            self.layer(),
            depth=self.layers,
            bidirectional=self.bidirectional,
            residual=self.residual,
            dropout=self.dropout,
            name="encoder",
        )


class SimpleRNNEncoder(_RecurrentEncoder):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: Activation = "tanh"
    """An activation that Keras knows by name."""

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.SimpleRNN."""
        from keras import layers

        return layers.SimpleRNN(self.units, activation=self.activation)


class GRUEncoder(_RecurrentEncoder):
    """Gated recurrent units (Cho et al., 2014)."""

    type: Literal["gru"]

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.GRU."""
        from keras import layers

        return layers.GRU(self.units)


class LSTMEncoder(_RecurrentEncoder):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    type: Literal["lstm"]

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.LSTM."""
        from keras import layers

        return layers.LSTM(self.units)


Encoder = Annotated[SimpleRNNEncoder | GRUEncoder | LSTMEncoder, Field(discriminator="type")]


class _RecurrentDecoder(_Recurrent):
    def cell(self) -> keras.layers.Layer:
        """Makes one recurrent cell, unbuilt; the decoder asks for one a layer."""
        raise TypeError(f"{type(self).__name__} does not say which cell it stands for.")


class SimpleRNNDecoder(_RecurrentDecoder):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: Activation = "tanh"
    """An activation that Keras knows by name."""

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.SimpleRNNCell."""
        from keras import layers

        return layers.SimpleRNNCell(self.units, activation=self.activation)


class GRUDecoder(_RecurrentDecoder):
    """Gated recurrent units (Cho et al., 2014)."""

    type: Literal["gru"]

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.GRUCell."""
        from keras import layers

        return layers.GRUCell(self.units)


class LSTMDecoder(_RecurrentDecoder):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    type: Literal["lstm"]

    def cell(self) -> keras.layers.Layer:
        """Makes keras.layers.LSTMCell."""
        from keras import layers

        return layers.LSTMCell(self.units)


Decoder = Annotated[SimpleRNNDecoder | GRUDecoder | LSTMDecoder, Field(discriminator="type")]


class BahdanauAttentionConfig(Strict):
    """Additive attention (Bahdanau et al., 2015)."""

    type: Literal["bahdanau"]
    units: Units | None = None
    """Width of the score's hidden layer; the decoder's units by default."""

    def attention(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.BahdanauAttention."""
        from layers import BahdanauAttention

        return BahdanauAttention(self.units or decoder_units, name="attention")


Attention = BahdanauAttentionConfig


class ModelConfig(Strict):
    """The network between tokens and answer."""

    embedding_size: Units = 64
    """Width of the token embeddings."""
    dropout: Rate = 0.0
    """Fraction of the embeddings, and of what the output layer reads, dropped in training."""
    encoder: Encoder
    """The layer type that reads the text."""
    pooling: Literal["last", "mean", "max"] | None = None
    """classification: how the encoder's outputs become one vector (default: last)."""
    attention: Attention | None = None
    """seq2seq: how the decoder looks at the source; without it, it only starts from the encoder's state."""
    decoder: Decoder | None = None
    """seq2seq: the layer type that writes the answer."""
