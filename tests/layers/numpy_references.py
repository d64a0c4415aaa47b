"""NumPy versions of the recurrent cells and of additive attention, written row by row from the papers.

Weights are given as Keras orders them.
"""

from __future__ import annotations

import keras
import numpy as np

Weights = list[np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def simple_rnn_step(x: np.ndarray, states: list[np.ndarray], weights: Weights) -> list[np.ndarray]:
    """Elman (1990): h' = tanh(W x + U h + b)."""
    kernel, recurrent_kernel, bias = weights
    return [np.tanh(x @ kernel + states[0] @ recurrent_kernel + bias)]


def gru_step(x: np.ndarray, states: list[np.ndarray], weights: Weights) -> list[np.ndarray]:
    """Cho et al. (2014), version 3, with the update gate in Keras' sense: h' = z h + (1 - z) candidate."""
    kernel, recurrent_kernel, (bias, recurrent_bias) = weights
    (h,) = states
    x_z, x_r, x_h = np.split(x @ kernel + bias, 3)
    h_z, h_r, h_h = np.split(h @ recurrent_kernel + recurrent_bias, 3)
    z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
    return [z * h + (1 - z) * np.tanh(x_h + r * h_h)]


def lstm_step(x: np.ndarray, states: list[np.ndarray], weights: Weights) -> list[np.ndarray]:
    """Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000)."""
    kernel, recurrent_kernel, bias = weights
    h, c = states
    i, f, g, o = np.split(x @ kernel + h @ recurrent_kernel + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


STEPS = {
    keras.layers.SimpleRNN: simple_rnn_step,
    keras.layers.GRU: gru_step,
    keras.layers.LSTM: lstm_step,
    keras.layers.SimpleRNNCell: simple_rnn_step,
    keras.layers.GRUCell: gru_step,
    keras.layers.LSTMCell: lstm_step,
}


def zero_states(kind: type, units: int) -> list[np.ndarray]:
    return [np.zeros(units)] * (2 if "LSTM" in kind.__name__ else 1)


def additive_attention(
    query: np.ndarray, memory: np.ndarray, mask: np.ndarray, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    """Bahdanau et al. (2015), appendix A.1.2, for one query and one source; reads unmasked positions only."""
    query_kernel, key_kernel, bias, score = weights
    context, attention = np.zeros(memory.shape[-1]), np.zeros(len(memory))
    positions = np.flatnonzero(mask)
    if len(positions) == 0:
        return context, attention
    energies = np.array(
        [score[:, 0] @ np.tanh(query @ query_kernel + memory[j] @ key_kernel + bias) for j in positions]
    )
    exponentials = np.exp(energies - energies.max())
    attention[positions] = exponentials / exponentials.sum()
    for j in positions:
        context += attention[j] * memory[j]
    return context, attention
