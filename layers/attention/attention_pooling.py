"""A sequence to one vector, by attention (Yang et al., 2016; Lin et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._seeds import with_shifted_seed
from layers._validation import invalid, positive_integer
from layers.attention._masked_softmax import masked_softmax
from layers.attention.hard_selection import HardSelection


@keras.saving.register_keras_serializable(package="rnnpipe")
class AttentionPooling(keras.layers.Layer):
    """Averages the steps of a sequence, each weighted by how much it matters.

    Step `h` is scored by `v' tanh(W h + b)`. The weights are the softmax of the scores over the real steps,
    in at least float32 under every dtype policy, and the result is the weighted sum of the steps. Masked
    steps have weights of exactly 0; a row without any real step gives zeros.

    This is the word attention of Yang et al., or a single row of the attention matrix of Lin et al., who
    leave `b` out.

    With a `selection` the pooling is hard: the result is the step with the highest score, or in training one
    sampled from the softmax. What trains the scores then, such as `selection.reinforce_loss`, is up to the
    caller, who gets what it needs by `return_selection`.

    Args:
        units: Positive integer, width of the score's hidden layer, or `None` for the width of the inputs.
            Defaults to `None`.
        kernel_initializer: Initializer of `W` and `v`. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of `b`. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of `W` and `v`. Defaults to `None`.
        bias_regularizer: Regularizer of `b`. Defaults to `None`.
        selection: `HardSelection` for hard pooling, or `None`. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, features)`.
        mask: Boolean tensor of shape `(batch, time)`, `True` at real steps; `None` if all are.
        return_attention_scores: Whether to return the weights too. Defaults to `False`.
        training: Whether to sample the step; counts for hard pooling only.
        return_selection: Whether to return weights, log probabilities and entropies too; for hard pooling
            only. Defaults to `False`.

    Returns:
        Tensor of shape `(batch, features)`; with `return_attention_scores` also the weights, of shape
        `(batch, time)`; with `return_selection` these and the choices' log probabilities and entropies, as
        `HardSelection` defines them, both of shape `(batch,)`.

    Example:
        ```python
        encoded = np.random.random((32, 20, 64))
        pooled = AttentionPooling()(encoded)  # (32, 64)
        pooled, weights = AttentionPooling(16)(encoded, return_attention_scores=True)  # And (32, 20).

        hard = AttentionPooling(selection=HardSelection())
        pooled = hard(encoded)  # One step of each row.
        pooled, _, log_probs, entropies = hard(encoded, training=True, return_selection=True)
        losses = loss_of(pooled)  # (32,)
        losses += hard.selection.reinforce_loss(losses, log_probs, entropies, ops.ones(32))
        ```

    References:
        - [Hierarchical Attention Networks for Document Classification](https://aclanthology.org/N16-1174/)
          (Yang et al., 2016), equations 5 to 7
        - [A Structured Self-attentive Sentence Embedding](https://arxiv.org/abs/1703.03130)
          (Lin et al., 2017)
        - [Show, Attend and Tell](https://arxiv.org/abs/1502.03044) (Xu et al., 2015), section 4.1, on hard
          attention
    """

    def __init__(
        self,
        units: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        selection: HardSelection | None = None,
        **kwargs: Any,
    ) -> None:
        positive_integer("units", units, optional=True)
        if selection is not None and not isinstance(selection, HardSelection):
            raise invalid("selection", "a `HardSelection` or `None`", selection)
        super().__init__(**kwargs)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.selection = selection

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shape of `inputs`."""
        width = inputs_shape[-1]
        units = width if self.units is None else self.units
        self.kernel = self.add_weight(
            (width, units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        self.bias = self.add_weight(
            (units,), initializer=self.bias_initializer, regularizer=self.bias_regularizer, name="bias"
        )
        self.score = self.add_weight(
            (units, 1),
            initializer=with_shifted_seed(self.kernel_initializer, 1),
            regularizer=self.kernel_regularizer,
            name="score",
        )

    def call(
        self,
        inputs: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        return_selection: bool = False,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, ...]:
        """Pools the steps; see the class for arguments and result."""
        if return_selection and self.selection is None:
            raise invalid("return_selection", "`False` for a pooling without `selection`", True)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            # What lies there may be infinite, and 0 times that is NaN.
            inputs = ops.where(ops.expand_dims(mask, axis=-1), inputs, ops.zeros_like(inputs))
        hidden = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
        scores = ops.squeeze(ops.matmul(hidden, self.score), axis=-1)
        read: list[keras.KerasTensor] = []
        if self.selection is None:
            weights = masked_softmax(scores, mask)
        else:
            weights, *read = self.selection(scores, mask=mask, training=training)
        weights = ops.cast(weights, self.compute_dtype)
        pooled = ops.squeeze(ops.matmul(ops.expand_dims(weights, axis=1), inputs), axis=1)
        if return_selection:
            return pooled, weights, *(ops.squeeze(output, axis=-1) for output in read)
        return (pooled, weights) if return_attention_scores else pooled

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Returns no mask: the outputs have no steps."""

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "selection": keras.saving.serialize_keras_object(self.selection),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttentionPooling:
        """Makes a pooling from what `get_config` returned."""
        selection = keras.saving.deserialize_keras_object(config.get("selection"))
        return cls(**{**config, "selection": selection})
