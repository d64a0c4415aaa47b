"""Configuration of the models, and the registry of layer types.

Each union at the end of a section is the registry of that kind of layer: a new type is one class with its
`type` name, added to the union; the schema, the error messages and the builders follow from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.strict import Strict

Units = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class _Recurrent(Strict):
    units: Units = 128
    """Units of each layer (of each direction, when bidirectional)."""
    layers: Annotated[int, Field(ge=1)] = 1
    """How many such layers stand on each other."""
    dropout: Rate = 0.0
    """Fraction of each layer's inputs dropped in training."""


class _RecurrentEncoder(_Recurrent):
    bidirectional: bool = False
    """Reads the text in both directions and concatenates the two outputs."""
    residual: bool = False
    """Adds each layer's input to its output, from the second layer on."""


class SimpleRNNEncoder(_RecurrentEncoder):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: str = "tanh"
    """Any activation that Keras knows by name."""


class GRUEncoder(_RecurrentEncoder):
    """Gated recurrent units (Cho et al., 2014)."""

    type: Literal["gru"]


class LSTMEncoder(_RecurrentEncoder):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    type: Literal["lstm"]


Encoder = Annotated[SimpleRNNEncoder | GRUEncoder | LSTMEncoder, Field(discriminator="type")]


class SimpleRNNDecoder(_Recurrent):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: str = "tanh"
    """Any activation that Keras knows by name."""


class GRUDecoder(_Recurrent):
    """Gated recurrent units."""

    type: Literal["gru"]


class LSTMDecoder(_Recurrent):
    """Long short-term memory."""

    type: Literal["lstm"]


Decoder = Annotated[SimpleRNNDecoder | GRUDecoder | LSTMDecoder, Field(discriminator="type")]


class BahdanauAttentionConfig(Strict):
    """Additive attention (Bahdanau et al., 2015)."""

    type: Literal["bahdanau"]
    units: Units | None = None
    """Width of the score's hidden layer; the decoder's units by default."""


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
