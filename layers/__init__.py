"""Keras layers: tensors in, tensors out."""

from layers.attention.attention_pooling import AttentionPooling
from layers.attention.bahdanau_attention import BahdanauAttention
from layers.attention.hard_attention import HardAttention
from layers.attention.hard_selection import HardSelection
from layers.attention.luong_attention import LuongAttention
from layers.attention.memory_network import MemoryNetwork
from layers.attention.monotonic_attention import MonotonicAttention
from layers.decoding.attention_decoder import AttentionDecoder
from layers.decoding.beam_search_decoder import BeamSearchDecoder
from layers.decoding.search_options import SearchOptions
from layers.rnn.clockwork_rnn import ClockworkRNN
from layers.rnn.clockwork_rnn_cell import ClockworkRNNCell
from layers.rnn.cnn_lstm import CNNLSTM
from layers.rnn.echo_state_rnn import EchoStateRNN
from layers.rnn.echo_state_rnn_cell import EchoStateRNNCell
from layers.rnn.identity_rnn import IdentityRNN
from layers.rnn.lstm_variant import LSTMVariant
from layers.rnn.lstm_variant_cell import LSTMVariantCell
from layers.rnn.recurrent_stack import RecurrentStack
from layers.rnn.ridge_readout import RidgeSums, fit_ridge
from layers.text.end_to_end_memory_network import EndToEndMemoryNetwork
from layers.text.text_cnn import TextCNN
from layers.text.tfidf import TfIdf
from layers.text.tfidf_network import TfIdfNetwork

__all__ = [
    "CNNLSTM",
    "AttentionDecoder",
    "AttentionPooling",
    "BahdanauAttention",
    "BeamSearchDecoder",
    "ClockworkRNN",
    "ClockworkRNNCell",
    "EchoStateRNN",
    "EchoStateRNNCell",
    "EndToEndMemoryNetwork",
    "HardAttention",
    "HardSelection",
    "IdentityRNN",
    "LSTMVariant",
    "LSTMVariantCell",
    "LuongAttention",
    "MemoryNetwork",
    "MonotonicAttention",
    "RecurrentStack",
    "RidgeSums",
    "SearchOptions",
    "TextCNN",
    "TfIdf",
    "TfIdfNetwork",
    "fit_ridge",
]
