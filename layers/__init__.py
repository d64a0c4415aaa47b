"""Keras layers: tensors in, tensors out."""

from layers.attention_decoder import AttentionDecoder
from layers.bahdanau_attention import BahdanauAttention
from layers.beam_search_decoder import BeamSearchDecoder
from layers.recurrent_stack import RecurrentStack

__all__ = ["AttentionDecoder", "BahdanauAttention", "BeamSearchDecoder", "RecurrentStack"]
