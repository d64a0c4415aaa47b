"""Keras layers: tensors in, tensors out."""

from layers.attention_decoder import AttentionDecoder
from layers.attention_pooling import AttentionPooling
from layers.bahdanau_attention import BahdanauAttention
from layers.beam_search_decoder import BeamSearchDecoder
from layers.clockwork_rnn import ClockworkRNN, ClockworkRNNCell
from layers.cnn_lstm import CNNLSTM
from layers.echo_state_rnn import EchoStateRNN, EchoStateRNNCell
from layers.end_to_end_memory_network import EndToEndMemoryNetwork
from layers.hard_attention import HardAttention
from layers.hard_selection import HardSelection
from layers.identity_rnn import IdentityRNN
from layers.luong_attention import LuongAttention
from layers.memory_network import MemoryNetwork
from layers.monotonic_attention import MonotonicAttention
from layers.recurrent_stack import RecurrentStack
from layers.ridge_readout import RidgeSums, fit_ridge
from layers.text_cnn import TextCNN
from layers.tfidf import TfIdf
from layers.tfidf_network import TfIdfNetwork

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
    "LuongAttention",
    "MemoryNetwork",
    "MonotonicAttention",
    "RecurrentStack",
    "RidgeSums",
    "TextCNN",
    "TfIdf",
    "TfIdfNetwork",
    "fit_ridge",
]
