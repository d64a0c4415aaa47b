"""Reading a memory in several hops (Sukhbaatar et al., 2015; Miller et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import keras
from keras import ops

from layers._seeds import with_shifted_seed
from layers._validation import invalid, positive_integer
from layers.attention._attention import Attention, linear_scores, project, zero_masked
from layers.attention._masked_softmax import masked_softmax

Tensor: TypeAlias = keras.KerasTensor
Projections: TypeAlias = tuple[list[Tensor], list[Tensor]]


@keras.saving.register_keras_serializable(package="rnnpipe")
class MemoryNetwork(Attention):
    """Reads a memory of vectors `x_i` again and again, each time with what it has read before.

    With `u_1 = B q` of the query `q`, hop `k` computes

        p_i = softmax_i(u_k' m_i)    m_i = A_k x_i + T_k(i)
        o = sum_i p_i c_i            c_i = A_{k+1} x_i + T_{k+1}(i)
        u_{k+1} = u_k + o

    so that the values of one hop are the keys of the next ("adjacent" weight tying, `C_k = A_{k+1}`). The
    context is `u_{hops+1}`, which holds the query too; the weights are those of the last hop.

    `T_k(i)`, the temporal encoding, is a learned vector for position `i`, counted from the last position that
    the mask leaves: the newest one has number 0. Without it the memory is a set, whose order has no meaning.

    A memory of pairs is addressed by its keys and read by its values: pass `values` beside the keys, which
    are `memory`. Hop `k` projects its keys by `A_k` and its values by `A_{k+1}`, so that both have the same
    width. Miller et al. project the query and all keys and values by a single `A` instead, and
    `u_{k+1} = R_k (u_k + o)` with a learned `R_k`.

    A decoder calls `project_keys` once per source and `attend` at every step, see `Attention`. The softmax is
    computed in at least float32. Masked positions get weights of exactly 0; where every position is masked,
    the context is the projected query `B q` alone.

    Args:
        units: Positive integer, width of the projections and of the context.
        hops: Positive integer, how often the memory is read. Defaults to 3.
        max_positions: Positive integer, how many of the newest positions have a temporal encoding of their
            own; all older ones share the oldest of these. `None` is no temporal encoding. Defaults to `None`.
        kernel_initializer: Initializer of `A_1` to `A_{hops+1}` and of `B`. Defaults to `"glorot_uniform"`.
        positions_initializer: Initializer of the temporal encoding. Defaults to `"uniform"`.
        kernel_regularizer: Regularizer of the `A_k` and of `B`. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        query: Tensor of shape `(batch, query_width)` or `(batch, queries, query_width)`.
        memory: Tensor of shape `(batch, source, memory_width)`.
        memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None`
            if it may be read everywhere. Defaults to the mask that `memory` carries, such as an embedding's.
        training: Without effect.
        values: Tensor of the shape of `memory`, what is read where `memory` is addressed. Defaults to
            `memory`.

    Returns:
        The context, of shape `(batch, units)`, and the weights of the last hop, of shape `(batch, source)`;
        with a `queries` axis after `batch` in both if the query has one.

    Example:
        ```python
        memory = np.random.random((32, 20, 64))
        query = np.random.random((32, 128))
        context, weights = MemoryNetwork(100, hops=2)(query, memory)  # (32, 100) and (32, 20)

        # A table of pairs, read by a decoder at every step:
        network = MemoryNetwork(100)
        network.build((None, 128), (None, None, 64))
        projections = network.project_keys(table_keys, table_values)
        context, weights, _ = network.attend(query, projections, table_keys)
        ```

    References:
        - [End-To-End Memory Networks](https://arxiv.org/abs/1503.08895) (Sukhbaatar et al., 2015),
          sections 2 and 4.1
        - [Key-Value Memory Networks for Directly Reading Documents](https://arxiv.org/abs/1606.03126)
          (Miller et al., 2016), section 3
    """

    def __init__(
        self,
        units: int,
        hops: int = 3,
        max_positions: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        positions_initializer: Any = "uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        positive_integer("units", units)
        positive_integer("hops", hops)
        positive_integer("max_positions", max_positions, optional=True)
        super().__init__(**kwargs)
        self.units = units
        self.hops = hops
        self.max_positions = max_positions
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.positions_initializer = keras.initializers.get(positions_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.query_projection = self._dense("query_projection", seed_offset=0)
        self.memory_projections = [
            self._dense(f"memory_projection_{index}", seed_offset=index + 1) for index in range(hops + 1)
        ]

    def _dense(self, name: str, seed_offset: int) -> keras.layers.Dense:
        return keras.layers.Dense(
            self.units,
            use_bias=False,
            kernel_initializer=with_shifted_seed(self.kernel_initializer, seed_offset),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, query_shape: Sequence[int | None], memory_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shapes of `query` and `memory`."""
        self.query_projection.build(query_shape)
        for projection in self.memory_projections:
            projection.build(memory_shape)
        if self.max_positions is not None:
            self.positions = self.add_weight(
                shape=(self.hops + 1, self.max_positions, self.units),
                initializer=self.positions_initializer,
                name="positions",
            )

    def context_width(self, memory_width: int) -> int:
        """Returns `units`, whatever the width of the memory."""
        return self.units

    def project_keys(self, memory: Tensor, values: Tensor | None = None) -> Projections:
        """Projects the memory for all hops.

        Args:
            memory: Tensor of shape `(batch, source, memory_width)`, the keys of a memory of pairs.
            values: Tensor of the shape of `memory`, the values of a memory of pairs. Defaults to `memory`.

        Returns:
            What each hop compares with its query, and what it reads: two lists of `hops` tensors of shape
            `(batch, source, units)`.
        """
        self._require_built()
        if values is None:
            projected = [projection(memory) for projection in self.memory_projections]
            return projected[:-1], projected[1:]
        if values.shape[-1] != memory.shape[-1]:
            expected = (
                f"a tensor of the width of the memory, {memory.shape[-1]}, for which all projections are made"
            )
            raise invalid("values", expected, f"shape {tuple(values.shape)}")
        keys = [projection(memory) for projection in self.memory_projections[:-1]]
        return keys, [projection(values) for projection in self.memory_projections[1:]]

    def attend(
        self,
        query: Tensor,
        keys: Projections,
        memory: Tensor,
        mask: Tensor | None = None,
        states: Sequence[Tensor] = (),
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Reads the memory in all hops for every query.

        Args:
            query: Tensor of shape `(batch, query_width)` or `(batch, queries, query_width)`.
            keys: What `project_keys` returned; it holds all that is read, and must be finite even where it is
                masked: see `zero_masked`.
            memory: Tensor of shape `(batch, source, memory_width)`. Not read.
            mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read.
            states: An empty list: there are none.
            noise: `None`: there is none.

        Returns:
            The context, of shape `(batch, [queries,] units)`, the weights of the last hop, of shape
            `(batch, [queries,] source)`, and the states.
        """
        query = project(self.query_projection, query)
        single = len(query.shape) == 2
        if single:
            query = ops.expand_dims(query, axis=1)
        temporal = None
        if self.max_positions is not None:
            times = ops.unstack(ops.cast(self.positions, self.compute_dtype), self.hops + 1)
            temporal = self._places(keys[0][0], mask), times
        if mask is not None:
            mask = ops.expand_dims(ops.cast(mask, "bool"), axis=1)
        context, weights = read_hops(query, *keys, mask, temporal)
        if single:
            context, weights = ops.squeeze(context, axis=1), ops.squeeze(weights, axis=1)
        return context, weights, list(states)

    def _places(self, key: Tensor, mask: Tensor | None) -> Tensor:
        """Returns each position's number, counted from the newest, as one-hot rows `(batch, source, max)`."""
        real = ops.ones(ops.shape(key)[:2], dtype="int32") if mask is None else ops.cast(mask, "int32")
        newer = ops.sum(real, axis=1, keepdims=True) - ops.cumsum(real, axis=1)
        count = self.positions.shape[1]
        return ops.one_hot(ops.minimum(newer, count - 1), count, dtype=self.compute_dtype)

    def call(
        self,
        query: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        training: bool | None = None,
        values: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Projects the memory and reads it for every query; see the class for arguments and result."""
        memory = zero_masked(memory, memory_mask)
        values = None if values is None else zero_masked(values, memory_mask)
        context, weights, _ = self.attend(query, self.project_keys(memory, values), memory, memory_mask)
        return context, weights

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "hops": self.hops,
            "max_positions": self.max_positions,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "positions_initializer": keras.initializers.serialize(self.positions_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def read_hops(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    mask: Tensor | None = None,
    temporal: tuple[Tensor, Sequence[Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Reads a projected memory once for each hop (Sukhbaatar et al., 2015, equations 1, 2 and 4).

    Args:
        query: Tensor of shape `(batch, queries, units)`.
        keys: For each hop a tensor of shape `(batch, source, units)`.
        values: As `keys`.
        mask: Boolean tensor that broadcasts with `(batch, queries, source)`, `True` where the memory may be
            read.
        temporal: The temporal encoding, if keys and values do not hold it: the place in time of each
            position, one-hot of shape `(batch, source, places)`, and the vectors of the places, of shape
            `(places, units)`, for the first hop's keys and for each hop's values.

    Returns:
        The query with all that has been read, of shape `(batch, queries, units)`, and the weights of the last
        hop, of shape `(batch, queries, source)`.
    """
    weights = None
    for hop, (key, value) in enumerate(zip(keys, values, strict=True)):
        # The times are added to scores and contexts, which are smaller than keys and values for one query.
        time = None if temporal is None else (temporal[0], temporal[1][hop])
        scores = linear_scores(partial(_scores, key=key, time=time), query)
        weights = ops.cast(masked_softmax(scores, mask), query.dtype)
        read = ops.matmul(weights, value)
        if temporal is not None:
            places, times = temporal
            read = read + ops.matmul(ops.matmul(weights, places), times[hop + 1])
        query = query + read
    return query, weights


def _scores(query: Tensor, key: Tensor, time: tuple[Tensor, Tensor] | None) -> Tensor:
    scores = ops.matmul(query, _transposed(key))
    if time is None:
        return scores
    places, times = time
    return scores + ops.matmul(ops.matmul(query, ops.transpose(times)), _transposed(places))


def _transposed(tensor: Tensor) -> Tensor:
    return ops.transpose(tensor, (0, 2, 1))
