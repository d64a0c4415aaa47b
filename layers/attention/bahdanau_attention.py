"""Additive attention (Bahdanau et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._seeds import with_shifted_seed
from layers._validation import positive_integer
from layers.attention._attention import Attention, project
from layers.attention._masked_softmax import masked_softmax


@keras.saving.register_keras_serializable(package="rnnpipe")
class BahdanauAttention(Attention):
    """Additive attention with learned projections of query and memory.

    A query `q` and a position `m` of the memory are scored by
    `score(q, m) = v' tanh(W_q q + W_k m + b)`; the weights are the softmax of the scores over the memory,
    and the context is the weighted sum of the memory.

    `W_k m + b`, the keys, does not depend on the query. A decoder computes the keys once per source with
    `project_keys` and then calls `attend` at every step. Several queries of one source (the beams of a
    search) share its memory and keys, which are never repeated.

    The softmax is computed in at least float32 under every dtype policy. Masked positions get weights of
    exactly 0; where every position is masked, weights and context are 0.

    Args:
        units: Positive integer, width of the score's hidden layer.
        kernel_initializer: Initializer of `W_q`, `W_k` and `v`. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of `b`. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of `W_q`, `W_k` and `v`. Defaults to `None`.
        bias_regularizer: Regularizer of `b`. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        query: Tensor of shape `(batch, query_width)` or `(batch, queries, query_width)`.
        memory: Tensor of shape `(batch, source, memory_width)`.
        memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None`
            if it may be read everywhere. Defaults to the mask that `memory` carries, such as an embedding's.

    Returns:
        The context, of shape `(batch, memory_width)`, and the weights, of shape `(batch, source)`; with
        a `queries` axis after `batch` in both if the query has one.

    Example:
        ```python
        memory = np.random.random((32, 20, 64))
        query = np.random.random((32, 128))
        context, weights = BahdanauAttention(100)(query, memory)  # (32, 64) and (32, 20)
        ```

    Reference:
        [Neural Machine Translation by Jointly Learning to Align and Translate](
        https://arxiv.org/abs/1409.0473) (Bahdanau et al., 2015), appendix A.1.2
    """

    def __init__(
        self,
        units: int,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        positive_integer("units", units)
        super().__init__(**kwargs)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        # One bias is enough: the two projections are added.
        self.query_projection = self._dense(0, "query_projection", units, use_bias=False)
        self.key_projection = self._dense(1, "key_projection", units, use_bias=True)
        self.score_projection = self._dense(2, "score", 1, use_bias=False)

    def _dense(self, index: int, name: str, units: int, use_bias: bool) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=with_shifted_seed(self.kernel_initializer, index),
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, query_shape: Sequence[int | None], memory_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shapes of `query` and `memory`."""
        self.query_projection.build(query_shape)
        self.key_projection.build(memory_shape)
        self.score_projection.build((None, self.units))

    def project_keys(self, memory: keras.KerasTensor) -> keras.KerasTensor:
        """Projects the memory to the keys that `attend` compares with its queries.

        Args:
            memory: Tensor of shape `(batch, source, memory_width)`.

        Returns:
            Tensor of shape `(batch, source, units)`.
        """
        self._require_built()
        return self.key_projection(memory)

    def score(self, query: keras.KerasTensor, keys: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the scores, of shape `(batch, queries, source)`.

        Args:
            query: Tensor of shape `(batch, queries, query_width)`.
            keys: What `project_keys` made of the memory, of shape `(batch, source, units)`.
        """
        query = project(self.query_projection, query)
        hidden = ops.tanh(ops.expand_dims(query, axis=2) + ops.expand_dims(keys, axis=1))
        return ops.squeeze(project(self.score_projection, hidden), axis=-1)

    def align(
        self,
        query: keras.KerasTensor,
        keys: keras.KerasTensor,
        mask: keras.KerasTensor | None,
        states: Sequence[keras.KerasTensor],
        noise: keras.KerasTensor | None,
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """Returns the softmax of the scores; see `Attention`."""
        return masked_softmax(self.score(query, keys), mask), list(states)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }
