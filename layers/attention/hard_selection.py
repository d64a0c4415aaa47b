"""One position instead of an average of all: the choice of hard attention (Xu et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._validation import fraction, invalid, non_negative_float, one_of, positive_float
from layers.attention._masked_softmax import masked_softmax

ESTIMATORS = ("reinforce", "straight_through")
# Far below any score, yet finite: a row of infinities would give NaN.
_MASKED_SCORE = -1e30
# The logarithm of a uniform draw of exactly 0 would be infinite.
_SMALLEST_DRAW = 1e-37


@keras.saving.register_keras_serializable(package="rnnpipe")
class HardSelection(keras.layers.Layer):
    """Turns attention scores into weights of which exactly one is 1 and the others are 0.

    At inference that is the highest score, of several the first. In training it is a sample from the softmax
    `p` of the scores, drawn as the highest of `log p + g` where `g` is Gumbel noise. The sample has no
    gradient; one of two estimators takes its place:

    - `"reinforce"`: what `reinforce_loss` adds to the loss has the gradient
      `(loss - baseline) * d log p(sample) - entropy * d H(p)`, which makes the gradient of the total that of
      the expected loss on average, with a bonus for the entropy `H` (Xu et al., equation 12). The baseline is
      the average loss of the batches before, of which newer ones count more (equation 11).
    - `"straight_through"`: the gradient is that of `softmax((log p + g) / temperature)`, which is biased but
      varies much less (Jang et al.). The temperature falls with every training call.

    In training the weights of a whole batch are now and then `p` itself, with probability `soft_mixing`:
    those of soft attention, which have a gradient of their own. It makes training steadier (Xu et al.,
    section 4.1).

    All is computed in at least float32 under every dtype policy. Masked positions are never chosen; where
    every position is masked, weights, log probability and entropy are 0.

    Args:
        estimator: `"reinforce"` or `"straight_through"`. Defaults to `"reinforce"`.
        baseline_decay: Float in [0, 1], how much of the moving average behind the baseline stays in each
            batch. 1 is no baseline. Defaults to 0.9.
        entropy: Float of at least 0, weight of the entropy bonus; only for `"reinforce"`. Defaults to 0.002.
        soft_mixing: Float in [0, 1], probability that a training batch gets soft weights. Defaults to 0.5.
        temperature: Positive float, that of the first training call with `"straight_through"`. Defaults to 1.
        min_temperature: Positive float, below which the temperature does not fall. Defaults to 0.5.
        temperature_decay: Float in (0, 1], by which the temperature is multiplied after every training call.
            Defaults to 0.9999.
        seed: Integer seed of the samples, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        scores: Tensor of shape `(..., source)`.
        mask: Boolean tensor that broadcasts with `scores`, `True` at what may be chosen; `None` if all may.
        training: Whether to sample.

    Returns:
        The weights, of shape `(..., source)`, and for each choice its log probability and the entropy of its
        distribution in nats, both of shape `(..., 1)`. Soft weights are no choice: their log probability
        is 0.

    Example:
        ```python
        selection = HardSelection()
        weights, log_prob, entropy = selection(scores, training=True)  # (32, 20), (32, 1) and (32, 1)
        losses = loss_of(weights)  # (32,)
        losses += selection.reinforce_loss(losses, log_prob[:, 0], entropy[:, 0], ops.ones(32))
        ```

    References:
        - [Show, Attend and Tell](https://arxiv.org/abs/1502.03044) (Xu et al., 2015), section 4.1
        - [Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning](
          https://doi.org/10.1007/BF00992696) (Williams, 1992)
        - [Categorical Reparameterization with Gumbel-Softmax](https://arxiv.org/abs/1611.01144)
          (Jang et al., 2017), section 2.2
        - [The Concrete Distribution](https://arxiv.org/abs/1611.00712) (Maddison et al., 2017)
    """

    def __init__(
        self,
        estimator: str = "reinforce",
        baseline_decay: float = 0.9,
        entropy: float = 0.002,
        soft_mixing: float = 0.5,
        temperature: float = 1.0,
        min_temperature: float = 0.5,
        temperature_decay: float = 0.9999,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        one_of("estimator", estimator, ESTIMATORS)
        fraction("baseline_decay", baseline_decay)
        non_negative_float("entropy", entropy)
        fraction("soft_mixing", soft_mixing)
        positive_float("temperature", temperature)
        positive_float("min_temperature", min_temperature)
        if min_temperature > temperature:
            raise invalid("min_temperature", f"at most `temperature` ({temperature})", min_temperature)
        fraction("temperature_decay", temperature_decay, zero=False)
        super().__init__(autocast=False, **kwargs)  # Scores keep the dtype they come in.
        self.estimator = estimator
        self.baseline_decay = baseline_decay
        self.entropy = entropy
        self.soft_mixing = soft_mixing
        self.temperature = temperature
        self.min_temperature = min_temperature
        self.temperature_decay = temperature_decay
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # Scalars need no shapes, so that `select` works before any call.
        if estimator == "reinforce":
            self.average_loss = self._add_scalar("average_loss")
            self.average_count = self._add_scalar("average_count")
        else:
            self.training_calls = self._add_scalar("training_calls")
        self.built = True

    def _add_scalar(self, name: str) -> keras.Variable:
        dtype = keras.backend.result_type(self.variable_dtype, "float32")
        return self.add_weight(
            (), initializer="zeros", dtype=dtype, trainable=False, autocast=False, name=name
        )

    def draw_soft(self) -> keras.KerasTensor:
        """Draws whether the weights of a training batch are soft.

        Returns:
            Scalar tensor, 1 with probability `soft_mixing` and otherwise 0.
        """
        draw = keras.random.uniform((), seed=self.seed_generator)
        return ops.cast(ops.less(draw, self.soft_mixing), "float32")

    def draw_noise(self, shape: Sequence[Any]) -> keras.KerasTensor:
        """Draws Gumbel noise for one training call, which counts for the temperature.

        Args:
            shape: Of the scores of all choices of the call.

        Returns:
            Float32 tensor of that shape.
        """
        if self.estimator == "straight_through":
            self.training_calls.assign_add(1)
        draw = keras.random.uniform(shape, minval=_SMALLEST_DRAW, dtype="float32", seed=self.seed_generator)
        return -ops.log(-ops.log(draw))

    def select(
        self,
        scores: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        soft: keras.KerasTensor | None = None,
        noise: keras.KerasTensor | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
        """Chooses without drawing anything, as a loop over steps must.

        Args:
            scores: Tensor of shape `(..., source)`.
            mask: Boolean tensor that broadcasts with `scores`, or `None`.
            soft: Tensor that broadcasts with `(..., 1)`, 1 where the weights are soft; `None` is nowhere.
            noise: What `draw_noise` returned for these scores, of their shape. `None` is inference.

        Returns:
            Weights, log probability and entropy as `call` returns them.
        """
        scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
        if mask is not None:
            mask = ops.cast(mask, "bool")
            scores = ops.where(mask, scores, _MASKED_SCORE)
        log_probs = ops.log_softmax(scores, axis=-1)
        # Log probabilities are near 0 where it matters, and so lose least of the noise to rounding.
        perturbed = scores if noise is None else log_probs + ops.cast(noise, scores.dtype)
        chosen = ops.one_hot(ops.argmax(perturbed, axis=-1), ops.shape(scores)[-1], dtype=scores.dtype)
        probs = ops.exp(log_probs)
        if mask is not None:
            log_probs, probs, chosen = (ops.where(mask, value, 0.0) for value in (log_probs, probs, chosen))
        weights = chosen
        if noise is not None and self.estimator == "straight_through":
            relaxed = masked_softmax(perturbed / self._current_temperature(scores.dtype), mask)
            # Adds exactly 0, with the gradient of the relaxation.
            weights = chosen + (relaxed - ops.stop_gradient(relaxed))
        log_prob = ops.sum(chosen * log_probs, axis=-1, keepdims=True)
        if soft is not None:
            soft = ops.cast(soft, "bool")
            weights, log_prob = ops.where(soft, probs, weights), ops.where(soft, 0.0, log_prob)
        return weights, log_prob, -ops.sum(probs * log_probs, axis=-1, keepdims=True)

    def _current_temperature(self, dtype: str) -> keras.KerasTensor:
        # The call under way has been counted already.
        calls = ops.maximum(ops.cast(self.training_calls, dtype) - 1.0, 0.0)
        return ops.maximum(self.temperature * self.temperature_decay**calls, self.min_temperature)

    def call(
        self,
        scores: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        training: bool | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
        """Chooses; see the class for arguments and result."""
        soft = self.draw_soft() if training else None
        noise = self.draw_noise(ops.shape(scores)) if training else None
        return self.select(scores, mask, soft, noise)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Returns no mask: what is masked has a weight of 0."""

    def reinforce_loss(
        self,
        losses: keras.KerasTensor,
        log_probs: keras.KerasTensor,
        entropies: keras.KerasTensor,
        counts: keras.KerasTensor,
        training: bool = True,
    ) -> keras.KerasTensor:
        """Returns what must be added to each row's loss to train the scores, and updates the baseline.

        Only its gradient means anything. The gradient of `losses` plus this is on average that of the
        expected loss, whatever the baseline, as long as a row's loss depends on no other row's samples;
        the entropy bonus comes on top.

        The baseline of a row is the loss per token of earlier batches times the row's tokens. It is the
        ratio of the moving averages of the batches' summed losses and of their tokens, so that it needs no
        correction for having started at 0; in the first batch it is 0.

        Args:
            losses: Tensor of shape `(batch,)`, the loss of each row, summed over its tokens.
            log_probs: Tensor of shape `(batch,)`, log probabilities, summed over the row's choices.
            entropies: Tensor of shape `(batch,)`, entropies, summed over the row's choices.
            counts: Tensor of shape `(batch,)`, how many tokens each row has.
            training: Whether this is a training step. Otherwise nothing is to be added or updated.

        Returns:
            Tensor of shape `(batch,)`; zeros for `"straight_through"`, whose gradient needs no help.
        """
        if self.estimator == "straight_through" or not training:
            return ops.zeros_like(log_probs)
        losses, counts = (ops.stop_gradient(ops.cast(value, log_probs.dtype)) for value in (losses, counts))
        baseline = ops.divide_no_nan(self.average_loss, self.average_count)  # Before this batch enters it.
        advantages = losses - ops.cast(baseline, log_probs.dtype) * counts
        for average, values in ((self.average_loss, losses), (self.average_count, counts)):
            total = ops.cast(ops.sum(values), average.dtype)
            average.assign(self.baseline_decay * average + (1 - self.baseline_decay) * total)
        return advantages * log_probs - self.entropy * entropies

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "estimator": self.estimator,
            "baseline_decay": self.baseline_decay,
            "entropy": self.entropy,
            "soft_mixing": self.soft_mixing,
            "temperature": self.temperature,
            "min_temperature": self.min_temperature,
            "temperature_decay": self.temperature_decay,
            "seed": self.seed,
        }
