"""Configuration of the encoders, a file a family. `ENCODERS` is their registry.

A new type is one layer, one class derived from `EncoderConfig` (or `RecurrentEncoderConfig`) and one line
here. What is special about it belongs to the class: nothing outside of this package asks for a type.
"""

from typing import Annotated

from components.models.encoders.base import EncoderConfig
from components.models.encoders.convolutional import CNNLSTMEncoder, TextCNNEncoder
from components.models.encoders.memory_network import MemoryNetworkEncoder
from components.models.encoders.recurrent import (
    ClockworkRNNEncoder,
    GRUEncoder,
    IdentityRNNEncoder,
    LSTMEncoder,
    RecurrentEncoderConfig,
    SimpleRNNEncoder,
)
from components.models.encoders.reservoir import EchoStateRNNEncoder
from components.models.encoders.tfidf import TfIdfEncoder
from components.registry import Registry

__all__ = ["ENCODERS", "Encoder", "EncoderConfig", "RecurrentEncoderConfig"]

ENCODERS = Registry(
    __name__,
    EncoderConfig,
    [
        SimpleRNNEncoder,
        GRUEncoder,
        LSTMEncoder,
        IdentityRNNEncoder,
        ClockworkRNNEncoder,
        EchoStateRNNEncoder,
        CNNLSTMEncoder,
        TextCNNEncoder,
        TfIdfEncoder,
        MemoryNetworkEncoder,
    ],
)
Encoder = Annotated[EncoderConfig, ENCODERS]
