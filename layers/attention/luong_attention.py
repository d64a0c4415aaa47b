"""Multiplicative and local attention (Luong et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._seeds import with_shifted_seed
from layers._validation import invalid, one_of, positive_integer
from layers.attention._attention import Attention, linear_scores, project
from layers.attention._masked_softmax import masked_softmax

SCORES = ("dot", "general", "concat")


@keras.saving.register_keras_serializable(package="rnnpipe")
class LuongAttention(Attention):
    """Attention with the scores of Luong, Pham and Manning, over all of the memory or a window of it.

    A query `q` and a position `m` of the memory are scored by

    - `"dot"`: `q' m`, for a query and a memory of equal widths;
    - `"general"`: `q' W m`;
    - `"concat"`: `v' tanh(W [q; m])`.

    Global attention weighs the memory by the softmax of the scores. Local attention (the paper's local-p,
    with `window`) predicts for every query where to look, `p = S sigmoid(v_p' tanh(W_p q))`, and reads only
    the positions `s` with `|s - p| <= window`: their weights are the softmax of their scores alone, times
    `exp(-(s - p)^2 / (2 sigma^2))` with `sigma = window / 2`. As in the paper they are not normalised again,
    so that they add up to less than 1; it is through this factor that `p` is trained.

    Positions are counted from 0 and `S` is their number. Both count only what the mask lets be read:
    a masked position, be it padding or a gap, is as if it were not there.

    The softmax and the predicted position are computed in at least float32 under every dtype policy. Masked
    positions get weights of exactly 0; where every position is masked, weights and context are 0.

    Args:
        score: `"dot"`, `"general"` or `"concat"`. Defaults to `"general"`.
        window: Positive integer, how many positions to either side of the predicted one are read (the
            paper's `D`, there 10), or `None` for global attention. Defaults to `None`.
        units: Positive integer, width of the hidden layer of the `"concat"` score and of that which predicts
            the position, or `None` for the width of the query. Defaults to `None`.
        kernel_initializer: Initializer of all weights. Defaults to `"glorot_uniform"`.
        kernel_regularizer: Regularizer of all weights. Defaults to `None`.
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
        context, weights = LuongAttention()(query, memory)  # (32, 64) and (32, 20)
        context, weights = LuongAttention("concat", window=3)(query, memory)
        ```

    Reference:
        [Effective Approaches to Attention-based Neural Machine Translation](
        https://arxiv.org/abs/1508.04025) (Luong et al., 2015), equations 7 to 10
    """

    def __init__(
        self,
        score: str = "general",
        window: int | None = None,
        units: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        one_of("score", score, SCORES)
        positive_integer("window", window, optional=True)
        positive_integer("units", units, optional=True)
        super().__init__(**kwargs)
        self.score = score
        self.window = window
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, query_shape: Sequence[int | None], memory_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shapes of `query` and `memory`."""
        query_width, memory_width = query_shape[-1], memory_shape[-1]
        units = query_width if self.units is None else self.units
        if self.score == "dot" and query_width != memory_width:
            raise invalid(
                "score",
                '"general" or "concat" for a query and a memory of different widths',
                f'"dot" for the widths {query_width} and {memory_width}',
            )
        if self.score == "general":
            self.key_projection = self._projection(0, "key_projection", memory_width, query_width)
        if self.score == "concat":
            # W in two parts, so that the memory's is applied once per source.
            self.key_projection = self._projection(0, "key_projection", memory_width, units)
            self.query_projection = self._projection(1, "query_projection", query_width, units)
            self.score_projection = self._projection(2, "score", units, 1)
        if self.window is not None:
            self.position_hidden = self._projection(3, "position_hidden", query_width, units)
            self.position_projection = self._projection(4, "position", units, 1)

    def _projection(
        self, index: int, name: str, inputs_width: int | None, units: int | None
    ) -> keras.layers.Dense:
        projection = keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=with_shifted_seed(self.kernel_initializer, index),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )
        projection.build((None, inputs_width))
        return projection

    def project_keys(self, memory: keras.KerasTensor) -> keras.KerasTensor:
        """Projects the memory to the keys that `attend` compares with its queries.

        Args:
            memory: Tensor of shape `(batch, source, memory_width)`.

        Returns:
            Tensor of shape `(batch, source, query_width)`, or `(batch, source, units)` for `"concat"`.
        """
        self._require_built()
        return super().project_keys(memory) if self.score == "dot" else self.key_projection(memory)

    def align(
        self,
        query: keras.KerasTensor,
        keys: keras.KerasTensor,
        mask: keras.KerasTensor | None,
        states: Sequence[keras.KerasTensor],
        noise: keras.KerasTensor | None,
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """Returns the weights of global or local attention; see `Attention`."""
        scores = self._scores(query, keys)
        if self.window is None:
            return masked_softmax(scores, mask), list(states)
        distances = self._distances(query, keys, mask)
        inside = ops.abs(distances) <= self.window
        if mask is not None:
            inside = ops.logical_and(inside, mask)
        # With sigma = window / 2, 2 sigma^2 is window^2 / 2.
        gaussian = ops.exp(-2.0 * ops.square(distances / self.window))
        return masked_softmax(scores, inside) * gaussian, list(states)

    def _scores(self, query: keras.KerasTensor, keys: keras.KerasTensor) -> keras.KerasTensor:
        """Scores, of shape `(batch, queries, source)`."""
        if self.score == "concat":
            query = project(self.query_projection, query)
            hidden = ops.tanh(ops.expand_dims(query, axis=2) + ops.expand_dims(keys, axis=1))
            return ops.squeeze(project(self.score_projection, hidden), axis=-1)
        query = ops.cast(query, self.compute_dtype)

        def score(query: keras.KerasTensor) -> keras.KerasTensor:
            # Transposes queries and scores, which are small beside the keys.
            return ops.transpose(ops.matmul(keys, ops.transpose(query, (0, 2, 1))), (0, 2, 1))

        return linear_scores(score, query)

    def _distances(
        self, query: keras.KerasTensor, keys: keras.KerasTensor, mask: keras.KerasTensor | None
    ) -> keras.KerasTensor:
        """How far every position is from the predicted one, of shape `(batch, queries, source)`."""
        share = project(self.position_projection, ops.tanh(project(self.position_hidden, query)))
        share = ops.sigmoid(ops.cast(share, keras.backend.result_type(share.dtype, "float32")))
        if mask is None:
            length = ops.shape(keys)[1]
            return ops.arange(length, dtype=share.dtype) - ops.cast(length, share.dtype) * share
        real = ops.cast(mask, share.dtype)
        return ops.cumsum(real, axis=-1) - 1.0 - ops.sum(real, axis=-1, keepdims=True) * share

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "score": self.score,
            "window": self.window,
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
