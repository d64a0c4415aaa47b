"""Hard attention: reads one position of the memory (Xu et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._validation import invalid
from layers.attention.bahdanau_attention import BahdanauAttention
from layers.attention.hard_selection import HardSelection


@keras.saving.register_keras_serializable(package="rnnpipe")
class HardAttention(BahdanauAttention):
    """Additive attention that reads a single position of the memory.

    Positions are scored as by `BahdanauAttention`, and a `HardSelection` chooses one: at inference the best,
    in training a sample. The context is the memory there.

    In training there are three states for each query, all of shape `(batch, [queries,] 1)`: whether this
    batch reads softly, and log probability and entropy of the last read. `call` does not return them; with
    `"reinforce"` train through `attend` as below, or the scores learn from soft batches only.

    Args:
        units: Positive integer, width of the score's hidden layer.
        selection: `HardSelection` that chooses the position, or `None` for one with its defaults. Defaults to
            `None`.
        **kwargs: Initializers and regularizers of `BahdanauAttention`, and arguments of
            `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        query: Tensor of shape `(batch, query_width)` or `(batch, queries, query_width)`.
        memory: Tensor of shape `(batch, source, memory_width)`.
        memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None`
            if it may be read everywhere. Defaults to the mask that `memory` carries, such as an embedding's.
        training: Whether to sample.

    Returns:
        The context, of shape `(batch, memory_width)`, and the weights, of shape `(batch, source)`; with
        a `queries` axis after `batch` in both if the query has one.

    Example:
        ```python
        attention = HardAttention(100)
        context, weights = attention(query, memory)  # (32, 64) and (32, 20), one weight of each row is 1

        # The losses of a training step of its own.
        states = attention.get_initial_state(memory, training=True)
        noise = ops.squeeze(attention.draw_noise(32, 1, 20), axis=1)
        keys = attention.project_keys(memory)
        context, _, (_, log_prob, entropy) = attention.attend(query, keys, memory, mask, states, noise)
        losses = loss_of(context)  # (32,)
        losses += attention.selection.reinforce_loss(losses, log_prob[:, 0], entropy[:, 0], ops.ones(32))
        ```

    Reference:
        [Show, Attend and Tell](https://arxiv.org/abs/1502.03044) (Xu et al., 2015), section 4.1
    """

    def __init__(self, units: int, selection: HardSelection | None = None, **kwargs: Any) -> None:
        if selection is not None and not isinstance(selection, HardSelection):
            raise invalid("selection", "a `HardSelection` or `None`", selection)
        super().__init__(units, **kwargs)
        self.selection = selection or HardSelection(dtype=self.dtype_policy, name="selection")

    def get_initial_state(
        self, memory: keras.KerasTensor, training: bool | None = None
    ) -> list[keras.KerasTensor]:
        """Returns `[soft, log_prob, entropy]` of shape `(batch, 1)` in training, otherwise nothing."""
        if not training:
            return []
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        nothing = ops.zeros((ops.shape(memory)[0], 1), dtype=dtype)
        return [nothing + ops.cast(self.selection.draw_soft(), dtype), nothing, nothing]

    def draw_noise(self, batch: Any, queries: Any, source: Any) -> keras.KerasTensor:
        """Draws Gumbel noise, of shape `(batch, queries, source)`."""
        return self.selection.draw_noise((batch, queries, source))

    def align(
        self,
        query: keras.KerasTensor,
        keys: keras.KerasTensor,
        mask: keras.KerasTensor | None,
        states: Sequence[keras.KerasTensor],
        noise: keras.KerasTensor | None,
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """Returns the choice among the scores; see `Attention`."""
        scores = self.score(query, keys)
        if not states:
            return self.selection.select(scores, mask, noise=noise)[0], []
        soft = states[0]
        weights, *read = self.selection.select(scores, mask, soft, noise)
        return weights, [soft, *(ops.cast(output, soft.dtype) for output in read)]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "selection": keras.saving.serialize_keras_object(self.selection)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HardAttention:
        """Makes an attention from what `get_config` returned."""
        selection = keras.saving.deserialize_keras_object(config.get("selection"))
        return cls(**{**config, "selection": selection})
