"""Monotonic attention (Raffel et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layers._validation import non_negative_float
from layers.attention._attention import project
from layers.attention.bahdanau_attention import BahdanauAttention

# Positions that hard attention looks at in one go. On two CPU cores (256 units; batch 1 and 32, with 5 beams
# too) single positions took .8 to 1.7 times as long as eight. To score the whole memory at every step took
# 1.1 to 2.1 times as long for 200 positions, and .6 to 1 times as long for 25.
_BLOCK = 8
# Of the squared length of `v`, which may start at 0: the square root has no gradient there.
_SMALLEST_SQUARE = 1e-12


@keras.saving.register_keras_serializable(package="rnnpipe")
class MonotonicAttention(BahdanauAttention):
    """Additive attention that reads the memory from left to right, one position at a time.

    At every step it goes on from the position that it read last, and stops at the first position `j` (that
    one included) which it chooses, with probability `p_j`, the sigmoid of the energy

    `g v' / ||v|| tanh(W_q q + W_k m_j + b) + r`.

    In training, the weights of step `i` are the probabilities of reading each position, by the recursion
    `q_{i,j} = (1 - p_{i,j-1}) q_{i,j-1} + alpha_{i-1,j}` and `alpha_{i,j} = p_{i,j} q_{i,j}`. Noise on the
    energies drives them to where the choices are certain.

    At inference, which includes the validation loss, the choices are hard: the first position with an energy
    above 0 is read, its weight is 1. Only the positions from the last one read to the next, in blocks of
    eight, are scored: over all steps that is linear in the lengths of memory and output. (The memory is
    projected, and the context summed, over all positions.)

    What is left of the probability at the end of the memory reads nothing, at this and all later steps: the
    weights add up to less than 1. Likewise hard attention that finds no further position reads nothing from
    then on: its weights and contexts are 0.

    Masked positions have weights of exactly 0 and are passed over. Energies, probabilities and states are
    at least float32 under every dtype policy.

    The state of a query is in training the last weights, of shape `(batch, source)`, otherwise the
    position last read, an integer of shape `(batch, 1)`, which is `source` after the end. A first query
    starts from position 0. `call` takes every query for a first one.

    On TensorFlow XLA cannot compile its training, and `supports_jit` is `False`: Keras' `jit_compile="auto"`
    then trains without.

    Args:
        units: Positive integer, width of the energies' hidden layer.
        noise_stddev: Float of at least 0, standard deviation of the Gaussian noise that is added to the
            energies in training. Defaults to 1.
        score_bias: Float, where the trained `r` starts. The longer the memories, the lower it should be, so
            that the first weights are not all used up at the beginning. Defaults to -4.
        seed: Integer seed of the noise, or `None`.
        **kwargs: Initializers and regularizers of `BahdanauAttention`, and arguments of
            `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        query: Tensor of shape `(batch, query_width)` or `(batch, queries, query_width)`.
        memory: Tensor of shape `(batch, source, memory_width)`.
        memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None`
            if it may be read everywhere. Defaults to the mask that `memory` carries, such as an embedding's.
        training: Whether to return expected weights, with noise, instead of hard ones.

    Returns:
        The context, of shape `(batch, memory_width)`, and the weights, of shape `(batch, source)`; with
        a `queries` axis after `batch` in both if the query has one.

    Example:
        ```python
        memory = np.random.random((32, 20, 64))
        queries = np.random.random((32, 10, 128))
        attention = MonotonicAttention(100)
        attention(queries[:, 0], memory)  # Builds it.

        keys, states = attention.project_keys(memory), attention.get_initial_state(memory)
        for step in range(10):
            query = queries[:, step]
            context, weights, states = attention.attend(query, keys, memory, states=states)
        ```

    Reference:
        [Online and Linear-Time Attention by Enforcing Monotonic Alignments](
        https://arxiv.org/abs/1704.00784) (Raffel et al., 2017), equations 11 to 14 and section 2
    """

    def __init__(
        self,
        units: int,
        noise_stddev: float = 1.0,
        score_bias: float = -4.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        non_negative_float("noise_stddev", noise_stddev)
        super().__init__(units, **kwargs)
        # On TensorFlow, `_linear_recurrence` cuts tensors at places that XLA does not know. Others that it
        # can compile are slower by half.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.noise_stddev = noise_stddev
        self.score_bias = score_bias
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape: Sequence[int | None], memory_shape: Sequence[int | None]) -> None:
        """Creates the weights from the shapes of `query` and `memory`."""
        super().build(query_shape, memory_shape)
        # Neither is in half precision, because the energies are not.
        self.gain = self._scalar("gain", self.units**-0.5)
        self.energy_bias = self._scalar("energy_bias", self.score_bias)

    def _scalar(self, name: str, value: float) -> keras.Variable:
        initializer = keras.initializers.Constant(value)
        return self.add_weight(
            (1,), initializer=initializer, dtype=self._energy_dtype, autocast=False, name=name
        )

    def get_initial_state(
        self, memory: keras.KerasTensor, training: bool | None = None
    ) -> list[keras.KerasTensor]:
        """Returns where the first query starts, position 0.

        Args:
            memory: Tensor of shape `(batch, source, memory_width)`.
            training: Whether the state is for training.

        Returns:
            In training weights of shape `(batch, source)`, otherwise positions of shape `(batch, 1)`.
        """
        batch, source = ops.shape(memory)[:2]
        if training:
            return [ops.one_hot(ops.zeros((batch,), dtype="int32"), source, dtype=self._energy_dtype)]
        return [ops.zeros((batch, 1), dtype="int32")]

    def draw_noise(self, batch: Any, queries: Any, source: Any) -> keras.KerasTensor:
        """Draws what is added to the energies in training, of shape `(batch, queries, source)`."""
        return keras.random.normal(
            (batch, queries, source),
            stddev=self.noise_stddev,
            dtype=self._energy_dtype,
            seed=self.seed_generator,
        )

    def score(self, query: keras.KerasTensor, keys: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the energies; see `BahdanauAttention.score`."""
        return self._energies(
            ops.expand_dims(project(self.query_projection, query), axis=2), ops.expand_dims(keys, 1)
        )

    def align(
        self,
        query: keras.KerasTensor,
        keys: keras.KerasTensor,
        mask: keras.KerasTensor | None,
        states: Sequence[keras.KerasTensor],
        noise: keras.KerasTensor | None,
    ) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
        """Returns expected weights if there is noise, otherwise hard ones; see `Attention`."""
        if noise is None:
            position = self._next_position(query, keys, mask, states[0])
            source = ops.shape(keys)[1]
            return ops.one_hot(ops.squeeze(position, axis=-1), source, dtype=self._energy_dtype), [position]
        probabilities = ops.sigmoid(self.score(query, keys) + ops.cast(noise, self._energy_dtype))
        if mask is not None:
            probabilities = ops.where(mask, probabilities, 0.0)
        passed = _shift(1.0 - probabilities, 1)
        weights = probabilities * _linear_recurrence(passed, states[0])
        return weights, [weights]

    @property
    def _energy_dtype(self) -> str:
        return keras.backend.result_type(self.compute_dtype, "float32")

    def _energies(self, query: keras.KerasTensor, keys: keras.KerasTensor) -> keras.KerasTensor:
        """Energies of a projected query and keys that broadcast with it, without the last axis."""
        scores = ops.squeeze(project(self.score_projection, ops.tanh(query + keys)), axis=-1)
        square = ops.sum(ops.square(ops.cast(self.score_projection.kernel, self._energy_dtype)))
        factor = self.gain * ops.rsqrt(ops.maximum(square, _SMALLEST_SQUARE))
        return ops.cast(scores, self._energy_dtype) * factor + self.energy_bias

    def _next_position(
        self,
        query: keras.KerasTensor,
        keys: keras.KerasTensor,
        mask: keras.KerasTensor | None,
        position: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """The first positions from the given ones on with an energy above 0, shaped as the given ones."""
        batch, source = ops.shape(keys)[:2]
        query = ops.expand_dims(project(self.query_projection, query), axis=2)
        # One gather of rows is faster than `ops.take_along_axis`.
        rows = ops.reshape(ops.arange(batch) * source, (-1, 1, 1))
        flat_keys = ops.reshape(keys, (-1, self.units))
        flat_mask = None if mask is None else ops.reshape(mask, (-1,))
        block = ops.arange(_BLOCK, dtype="int32")

        def goes_on(position: keras.KerasTensor, stopped: keras.KerasTensor) -> keras.KerasTensor:
            return ops.any(ops.logical_and(ops.logical_not(stopped), position < source))

        def look(
            position: keras.KerasTensor, stopped: keras.KerasTensor
        ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
            # Past the end the last position is seen again; to choose it there is to find nothing.
            seen = rows + ops.minimum(position + block, source - 1)
            chosen = self._energies(query, ops.take(flat_keys, seen, axis=0)) > 0
            if flat_mask is not None:
                chosen = ops.logical_and(chosen, ops.take(flat_mask, seen, axis=0))
            # A last entry, so that a block without a choice is passed as a whole.
            chosen = ops.pad(chosen, [[0, 0], [0, 0], [0, 1]], constant_values=True)
            ahead = ops.cast(ops.argmax(ops.cast(chosen, "int32"), axis=-1, keepdims=True), "int32")
            position = ops.where(stopped, position, position + ahead)
            return position, ops.logical_or(stopped, ahead < _BLOCK)

        nowhere = ops.zeros_like(position, dtype="bool")
        position, _ = ops.while_loop(goes_on, look, (position, nowhere))
        return ops.minimum(position, source)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "noise_stddev": self.noise_stddev,
            "score_bias": self.score_bias,
            "seed": self.seed,
        }


def _linear_recurrence(factors: keras.KerasTensor, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Solves `y_j = factors_j y_{j-1} + inputs_j` along the last axis, with `factors_0 = 0`.

    By doubling: after each round, `y_j` accounts for the last 2, 4, 8, ... inputs. Nothing is divided, so
    that nothing underflows as the cumulative products of the paper's appendix C.1 do. Forward and backward on
    two CPU cores (batch 32, 30 and 200 positions) it took .3 and 1.2 ms, with the length known only at run
    time .7 and 2.0; `ops.associative_scan` took .8 and 2.1 and needs to know the length; exponentials of
    differences of summed logarithms took .6 and 9.4.
    """

    def double(
        distance: Any, factors: keras.KerasTensor, solution: keras.KerasTensor
    ) -> tuple[Any, keras.KerasTensor, keras.KerasTensor]:
        solution = solution + factors * _shift(solution, distance)
        return 2 * distance, factors * _shift(factors, distance), solution

    distance, solution = 1, inputs
    if factors.shape[-1] is None:
        source = ops.shape(factors)[-1]
        return ops.while_loop(lambda distance, *_: distance < source, double, (distance, factors, inputs))[2]
    # Unrolled it is faster, and JAX can differentiate it.
    while distance < factors.shape[-1]:
        distance, factors, solution = double(distance, factors, solution)
    return solution


def _shift(tensor: keras.KerasTensor, distance: Any) -> keras.KerasTensor:
    """Moves the entries of the last axis up, and zeros in."""
    return ops.concatenate([ops.zeros_like(tensor[..., :distance]), tensor[..., :-distance]], axis=-1)
