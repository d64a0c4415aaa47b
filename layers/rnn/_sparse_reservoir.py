"""The fast way through an echo state network on TensorFlow: with a sparse recurrent kernel.

A unit of a reservoir reads few others, so nearly all that a dense product computes is 0. The product of a
sparse matrix reads whole rows of the other one, therefore states are of shape `(units, batch)` in the loop.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def sparse_reservoir(
    sequences: tf.Tensor,
    initial_state: tf.Tensor,
    mask: tf.Tensor | None,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    activation: Callable[[tf.Tensor], tf.Tensor],
    leak_rate: float,
    return_sequences: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Runs all steps of an echo state network, whatever the non-zero entries of its recurrent kernel.

    Gradients flow to everything but `recurrent_kernel`.

    Args:
        sequences: Tensor of shape `(batch, time, features)`.
        initial_state: Tensor of shape `(batch, units)`.
        mask: Boolean tensor of shape `(batch, time)`, or `None` if all steps are real.
        kernel: Tensor of shape `(features, units)`.
        recurrent_kernel: Dense tensor of shape `(units, units)`, of dtype float32 or float64.
        bias: Tensor of shape `(units,)`.
        activation: Function of single elements.
        leak_rate: Float in (0, 1].
        return_sequences: Whether to return the outputs of all steps.

    Returns:
        As the loop of `keras.layers.RNN`: the last output, of shape `(batch, units)`, all outputs, of shape
        `(batch, time, units)`, or only the last if not `return_sequences`, and the final state, of shape
        `(batch, units)`. Outputs are states, but 0 before the first real step.
    """
    # A sparse product needs a column: a batch without rows gets one, which is cut off in the end.
    rows = tf.shape(sequences)[0]
    missing = [[0, tf.maximum(1 - rows, 0)]]
    sequences = tf.pad(sequences, [*missing, [0, 0], [0, 0]])
    initial_state = tf.pad(initial_state, [*missing, [0, 0]])
    if mask is not None:
        mask = tf.pad(mask, [*missing, [0, 0]])
    matrix = tf.transpose(recurrent_kernel)
    entries = tf.where(matrix != 0)
    values = tf.gather_nd(matrix, entries)
    kernel, bias = tf.transpose(kernel), bias[:, None]

    def step(state: tf.Tensor, elements: tuple[tf.Tensor, ...]) -> tf.Tensor:
        inputs, *real = elements
        drive = tf.matmul(kernel, inputs) + bias
        new = activation(drive + _sparse_product(entries, values, state))
        if leak_rate != 1:
            new = (1 - leak_rate) * state + leak_rate * new
        return tf.where(real[0], new, state) if real else new

    elements = [tf.transpose(sequences, (1, 2, 0))]
    if mask is not None:
        elements.append(tf.transpose(mask)[:, None])
    loop = tf.scan if return_sequences else tf.foldl
    states = loop(step, tuple(elements), initializer=tf.transpose(initial_state))
    if return_sequences:
        final, outputs = tf.transpose(states[-1]), tf.transpose(states, (2, 0, 1))
    else:
        final = tf.transpose(states)
        outputs = final[:, None]
    if mask is not None:
        real = tf.cast(mask, "int32")
        begun = tf.cumsum(real, axis=1) if return_sequences else tf.reduce_sum(real, axis=1, keepdims=True)
        outputs = tf.where(begun[..., None] > 0, outputs, tf.zeros((), outputs.dtype))
    return outputs[:rows, -1], outputs[:rows], final[:rows]


# TensorFlow's own gradient computes that of the sparse matrix, too, and fails in a loop.
@tf.custom_gradient
def _sparse_product(
    entries: tf.Tensor, values: tf.Tensor, dense: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[None, None, tf.Tensor]]]:
    """Multiplies a square matrix of `values` at `entries`, without a gradient, by a dense one, with one."""

    def product(dense: tf.Tensor, transpose: bool) -> tf.Tensor:
        units = tf.shape(dense, "int64")[0]
        # Here and not outside of the loop, which in a loaded SavedModel accepts no sparse matrix.
        matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=entries, values=values, dense_shape=tf.stack([units, units])
        )
        result = tf.raw_ops.SparseMatrixMatMul(a=matrix, b=dense, transpose_a=transpose)
        return tf.ensure_shape(result, dense.shape)

    return product(dense, transpose=False), lambda upstream: (None, None, product(upstream, transpose=True))
