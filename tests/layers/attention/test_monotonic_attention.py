"""Tests of MonotonicAttention against the paper's equations and against all alignments, one by one."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from layer_checks import (
    FLOAT64_ROUNDING,
    assert_close,
    check_gradients,
    check_layer,
    examples,
    random,
    to_numpy,
)
from numpy_references import sigmoid

from layers import MonotonicAttention

BATCH, STEPS, SOURCE, WIDTH, UNITS = 3, 5, 11, 4, 6
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traces a tf.function")


@pytest.fixture
def memory() -> np.ndarray:
    return random(BATCH, SOURCE, WIDTH)


@pytest.fixture
def queries() -> np.ndarray:
    return random(BATCH, STEPS, WIDTH, seed=1)


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, a row with gaps, also at the start, and a row without anything to read."""
    return np.array([[1] * 11, [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0], [0] * 11], dtype=bool)


class Decoding(keras.layers.Layer):
    """Reads once for every step of `query`, one after the other, with the noise that it is given."""

    def __init__(self, attention, noise=None, **kwargs):
        super().__init__(**kwargs)
        self.attention, self.noise, self.supports_masking = attention, noise, True

    def call(self, query, memory, mask=None):
        keys = self.attention.project_keys(memory)
        states = self.attention.get_initial_state(memory, training=self.noise is not None)
        reads = []
        for step in range(query.shape[1]):
            noise = None if self.noise is None else self.noise[:, step]
            context, weights, states = self.attention.attend(
                query[:, step], keys, memory, mask, states, noise
            )
            reads.append((context, weights))
        return tuple(ops.stack(parts, axis=1) for parts in zip(*reads, strict=True))


def attention_with(weights_seed=7, dtype="float64", **kwargs) -> MonotonicAttention:
    """A built layer with random weights, whose energies are about as often above 0 as below."""
    layer = MonotonicAttention(UNITS, dtype=dtype, **kwargs)
    layer.build((None, WIDTH), (None, None, WIDTH))
    layer.set_weights([random(*w.shape, seed=weights_seed + i) for i, w in enumerate(layer.weights)])
    set_scalars(layer, gain=2.0, bias=-0.3)
    return layer


def set_scalars(layer: MonotonicAttention, gain: float, bias: float) -> None:
    layer.gain.assign([gain])
    layer.energy_bias.assign([bias])


def energies_of(query, memory, weights):
    """Energies of one row, of shape `(steps, source)`."""
    (g,), (r,), query_kernel, key_kernel, bias, v = weights
    energies = np.zeros((len(query), len(memory)))
    for i, j in np.ndindex(*energies.shape):
        hidden = np.tanh(query[i] @ query_kernel + memory[j] @ key_kernel + bias)
        energies[i, j] = g * v[:, 0] @ hidden / np.sqrt((v**2).sum()) + r
    return energies


def expected_alignments(probabilities):
    """Raffel et al. (2017), equations 13 and 14, for one row of shape `(steps, source)`."""
    steps, source = probabilities.shape
    last, alignments = np.eye(source)[0], []
    for i in range(steps):
        q, alpha = np.zeros(source), np.zeros(source)
        for j in range(source):
            passed = (1 - probabilities[i, j - 1]) * q[j - 1] if j > 0 else 0.0
            q[j] = passed + last[j]
            alpha[j] = probabilities[i, j] * q[j]
        alignments.append(alpha)
        last = alpha
    return np.array(alignments)


def hard_alignments(choices):
    """The process of section 2.2, for one row of choices of shape `(steps, source)`."""
    steps, source = choices.shape
    alignments, start = np.zeros((steps, source)), 0
    for i in range(steps):
        for j in range(start, source):
            if choices[i, j]:
                alignments[i, j], start = 1, j
                break
        else:
            start = source
    return alignments


def decode(query, memory, mask, weights, align):
    """Contexts and weights of all rows, from what `align` makes of their energies and masks."""
    alignments = np.array(
        [align(energies_of(q, m, weights), k) for q, m, k in zip(query, memory, mask, strict=True)]
    )
    return alignments @ memory, alignments


def expected(noise):
    rows = iter(itertools.cycle(noise))
    return lambda energies, mask: expected_alignments(sigmoid(energies + next(rows)) * mask)


def hard(energies, mask):
    return hard_alignments((energies > 0) & mask)


def test_layer(memory, mask, tmp_path):
    check_layer(
        lambda **kwargs: MonotonicAttention(
            **{
                "units": UNITS,
                "score_bias": 0.1,
                "kernel_initializer": keras.initializers.RandomNormal(seed=1),
                **kwargs,
            }
        ),
        {
            "query": random(BATCH, 2, WIDTH, seed=1).astype("float32"),
            "memory": memory.astype("float32"),
            "memory_mask": mask,
        },
        expected_shapes=[(BATCH, 2, WIDTH), (BATCH, 2, SOURCE)],
        expected_trainable_weights=6,
        tmp_path=tmp_path,
        masked="memory",
        invalid_arguments={"units": [0, -1, 2.5], "noise_stddev": [-0.1, float("nan")]},
    )


def test_initial_weights():
    layer = MonotonicAttention(16, score_bias=-2.5)
    layer.build((None, WIDTH), (None, None, WIDTH))
    assert [weight.shape for weight in layer.weights] == [
        (1,),
        (1,),
        (WIDTH, 16),
        (WIDTH, 16),
        (16,),
        (16, 1),
    ]
    assert_close([layer.gain, layer.energy_bias], [np.array([0.25]), np.array([-2.5])])


@pytest.mark.parametrize("noisy", [False, True])
def test_training_equals_the_recursion(noisy, queries, memory, mask):
    layer, noise = attention_with(), random(BATCH, STEPS, SOURCE, seed=4) * noisy
    reads = Decoding(layer, noise, dtype="float64")(queries, memory, mask=mask)
    assert_close(
        reads, decode(queries, memory, mask, layer.get_weights(), expected(noise)), atol=FLOAT64_ROUNDING
    )
    reads = Decoding(layer, noise, dtype="float64")(queries, memory)
    everywhere = np.ones_like(mask)
    assert_close(
        reads,
        decode(queries, memory, everywhere, layer.get_weights(), expected(noise)),
        atol=FLOAT64_ROUNDING,
    )


def test_inference_equals_the_process(queries, memory, mask):
    layer = attention_with()
    contexts, weights = to_numpy(Decoding(layer, dtype="float64")(queries, memory, mask=mask))
    assert_close((contexts, weights), decode(queries, memory, mask, layer.get_weights(), hard), atol=1e-12)
    read = np.where(weights.any(axis=-1), weights.argmax(axis=-1), SOURCE)
    assert read.tolist() == [[0, 3, 3, 10, 10], [7, 7, 7, SOURCE, SOURCE], [SOURCE] * STEPS]
    assert_close(
        Decoding(layer, dtype="float64")(queries, memory),
        decode(queries, memory, np.ones_like(mask), layer.get_weights(), hard),
        atol=1e-12,
    )


def align_energies(energies: np.ndarray) -> np.ndarray:
    """The layer's expected alignments of one row for given energies of shape `(steps, source)`."""
    layer = MonotonicAttention(1, dtype="float64")
    layer.build((None, 1), (None, None, 1))
    # Energies of 0, to which the given ones come as noise.
    set_scalars(layer, gain=0.0, bias=0.0)
    memory = np.zeros((1, energies.shape[1], 1))
    _, weights = Decoding(layer, energies[None], dtype="float64")(np.zeros((1, len(energies), 1)), memory)
    return to_numpy(weights)[0]


def test_training_equals_all_alignments_one_by_one():
    probabilities = np.random.default_rng(5).uniform(0.1, 0.9, size=(3, 4))
    total = np.zeros((3, 4))
    for choices in itertools.product([0, 1], repeat=12):
        choices = np.reshape(choices, (3, 4))
        likelihood = np.where(choices, probabilities, 1 - probabilities).prod()
        total += likelihood * hard_alignments(choices)
    energies = np.log(probabilities / (1 - probabilities))
    assert_close(align_energies(energies), total, atol=FLOAT64_ROUNDING)


def test_nothing_underflows_in_a_long_memory():
    """Where the paper's form with cumulative products (appendix C.1) has lost everything."""
    source, start = 500, 400
    layer = MonotonicAttention(1, score_bias=0.0)
    memory = np.zeros((1, source, 1), "float32")
    layer(np.zeros((1, 1)), memory)
    noise, last = np.zeros((1, source), "float32"), np.eye(source, dtype="float32")[start][None]
    _, weights, _ = layer.attend(np.zeros((1, 1)), layer.project_keys(memory), memory, None, [last], noise)
    np.testing.assert_allclose(to_numpy(weights)[0, start : start + 20], 0.5 ** np.arange(1, 21), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(weights).sum(), 1, rtol=1e-6)
    products = np.cumprod(np.full(source, 0.5, "float32")) * 2
    assert (0.5 * products * np.cumsum(last[0] / np.clip(products, 1e-10, 1))).sum() < 1e-6
    energies = np.random.default_rng(0).normal(size=(8, source))
    np.testing.assert_allclose(align_energies(energies).sum(axis=-1), 1, rtol=1e-5)


def test_certain_choices_are_the_same_in_training_and_inference(queries, memory, mask):
    layer = attention_with()
    set_scalars(layer, gain=1e6, bias=-1e5)
    trained = Decoding(layer, np.zeros((BATCH, STEPS, SOURCE)), dtype="float64")(queries, memory, mask=mask)
    assert_close(trained, Decoding(layer, dtype="float64")(queries, memory, mask=mask), atol=1e-12)


def test_past_the_end_nothing_is_read_again():
    """As in training, where the probability that is left at the end of the memory does not come back."""
    layer = attention_with()
    memory = random(1, SOURCE, WIDTH)
    set_scalars(layer, gain=2.0, bias=-5.0)
    keys, states = layer.project_keys(memory), layer.get_initial_state(memory)
    context, weights, states = layer.attend(random(1, WIDTH), keys, memory, states=states)
    assert not np.any(to_numpy(context))
    assert not np.any(to_numpy(weights))
    assert_close(states, [np.array([[SOURCE]])])
    set_scalars(layer, gain=2.0, bias=5.0)
    _, weights, states = layer.attend(random(1, WIDTH), keys, memory, states=states)
    assert not np.any(to_numpy(weights))
    assert_close(states, [np.array([[SOURCE]])])


@examples(40)
@given(
    source=st.integers(1, 20),
    start=st.integers(0, 20),
    real=st.floats(0, 1),
    bias=st.floats(-2, 2),
    seed=st.integers(0, 1000),
)
def test_reads_the_first_chosen_position_from_the_last_one_on(source, start, real, bias, seed):
    layer = attention_with(seed)
    set_scalars(layer, gain=2.0, bias=bias)
    query, memory = random(1, WIDTH, seed=seed), random(1, source, WIDTH, seed=seed + 1)
    mask = np.random.default_rng(seed).uniform(size=(1, source)) < real
    start = min(start, source)
    context, weights, (position,) = layer.attend(
        query, layer.project_keys(memory), memory, mask, [np.array([[start]], "int32")]
    )
    chosen = (energies_of(query, memory[0], layer.get_weights())[0] > 0) & mask[0]
    chosen[:start] = False
    first = np.argmax(chosen) if chosen.any() else source
    assert int(position[0, 0]) == first
    assert_close(weights[0], np.arange(source) == first)
    assert_close(context[0], memory[0, first] if first < source else np.zeros(WIDTH))


@tensorflow_only
def test_inference_scores_only_what_it_passes(monkeypatch):
    source, steps, scored = 400, 20, []
    layer = attention_with(weights_seed=0)
    set_scalars(layer, gain=2.0, bias=-1.2)
    energies = layer._energies
    monkeypatch.setattr(layer, "_energies", lambda *args: (scored.append(0), energies(*args))[1])
    memory = random(1, source, WIDTH)
    _, weights = Decoding(layer, dtype="float64")(random(1, steps, WIDTH, seed=2), memory)
    last = np.argmax(to_numpy(weights)[0, -1])
    assert last > source / 2
    assert 8 * len(scored) <= last + 8 * steps


@pytest.mark.parametrize("training", [False, True])
def test_beams_are_read_as_if_alone(training, memory, mask):
    layer, beams = attention_with(), 2
    queries = random(BATCH, STEPS, beams, WIDTH, seed=1)
    noise = random(BATCH, STEPS, beams, SOURCE, seed=4) if training else None
    states = [
        ops.repeat(ops.expand_dims(s, 1), beams, axis=1) for s in layer.get_initial_state(memory, training)
    ]
    keys, reads = layer.project_keys(memory), []
    for step in range(STEPS):
        step_noise = noise[:, step] if training else None
        context, weights, states = layer.attend(queries[:, step], keys, memory, mask, states, step_noise)
        reads.append((context, weights))
    reads = [ops.stack(parts, axis=1) for parts in zip(*reads, strict=True)]
    for beam in range(beams):
        decoding = Decoding(layer, noise[:, :, beam] if training else None, dtype="float64")
        alone = decoding(queries[:, :, beam], memory, mask=mask)
        assert_close([part[:, :, beam] for part in reads], alone, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("training", [False, True])
def test_calling_reads_from_the_start_for_every_query(training, queries, memory, mask):
    layer = attention_with(noise_stddev=0.0)
    reads = layer(queries, memory, memory_mask=mask, training=training)
    noise = np.zeros((BATCH, 1, SOURCE)) if training else None
    for step in range(STEPS):
        first = Decoding(layer, noise, dtype="float64")(queries[:, step : step + 1], memory, mask=mask)
        assert_close([part[:, step] for part in reads], [part[:, 0] for part in first], FLOAT64_ROUNDING)


@tensorflow_only
@pytest.mark.parametrize("training", [False, True])
def test_any_batch_and_length(training, queries, memory, mask):
    """Traced for unknown sizes, with the same gradients."""
    import tensorflow as tf

    layer = attention_with()
    noise = random(BATCH, STEPS, SOURCE, seed=4)

    def read_and_differentiate(queries, memory, mask, noise):
        decoding = Decoding(layer, noise if training else None, dtype="float64")
        with tf.GradientTape() as tape:
            tape.watch(memory)
            reads = decoding(queries, memory, mask=mask)
            loss = sum(tf.reduce_sum(tf.square(part)) for part in reads)
        return reads, tape.gradient(loss, memory)

    arguments = [tf.constant(array) for array in (queries, memory, mask, noise)]
    free = [
        tf.TensorSpec([None, STEPS if array is queries else None, *array.shape[2:]], array.dtype)
        for array in (queries, memory, mask)
    ]
    free.append(tf.TensorSpec([None, STEPS, None], noise.dtype))
    traced = tf.function(read_and_differentiate, input_signature=free)
    assert_close(traced(*arguments), read_and_differentiate(*arguments), atol=1e-12)


def test_gradients_equal_finite_differences(queries, memory, mask):
    """Also through the weights of the steps before."""
    noise = random(BATCH, STEPS, SOURCE, seed=4)
    decoding = Decoding(attention_with(), noise, dtype="float64")
    decoding(queries, memory)
    check_gradients(
        decoding,
        {"query": queries, "memory": memory},
        lambda query, memory, weights: decode(query, memory, mask, weights, expected(noise)),
        mask=mask,
    )


@tensorflow_only
def test_gradients_of_certain_choices_are_finite():
    import tensorflow as tf

    layer = attention_with(dtype="float32")
    set_scalars(layer, gain=1e4, bias=0.0)
    query, memory = tf.ones((1, STEPS, WIDTH)), tf.constant(random(1, SOURCE, WIDTH).astype("float32"))
    with tf.GradientTape() as tape:
        contexts, _ = Decoding(layer, np.zeros((1, STEPS, SOURCE), "float32"))(query, memory)
        loss = tf.reduce_sum(contexts)
    for gradient in tape.gradient(loss, [weight.value for weight in layer.trainable_weights]):
        assert np.isfinite(gradient).all()


@tensorflow_only
def test_energies_may_start_equal():
    """Where the vector that is normalised is 0."""
    import tensorflow as tf

    layer = MonotonicAttention(UNITS, score_bias=1.0, noise_stddev=0.0, kernel_initializer="zeros")
    query, memory = random(1, WIDTH).astype("float32"), random(1, SOURCE, WIDTH).astype("float32")
    with tf.GradientTape() as tape:
        context, weights = layer(query, memory, training=True)
        loss = tf.reduce_sum(context)
    np.testing.assert_allclose(weights[0], sigmoid(1.0) * sigmoid(-1.0) ** np.arange(SOURCE), rtol=1e-5)
    for gradient in tape.gradient(loss, [weight.value for weight in layer.trainable_weights]):
        assert np.isfinite(gradient).all()
    assert_close(layer(query, memory)[1], np.eye(SOURCE)[:1])


def test_noise():
    layer = MonotonicAttention(UNITS, noise_stddev=3.0, seed=1, dtype="mixed_float16")
    noise = to_numpy(layer.draw_noise(50, 4, 60))
    assert noise.shape == (50, 4, 60)
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 3], atol=0.1)
    assert (to_numpy(layer.draw_noise(50, 4, 60)) != noise).all()
    assert_close(MonotonicAttention(UNITS, noise_stddev=3.0, seed=1).draw_noise(50, 4, 60), noise)
    assert (to_numpy(MonotonicAttention(UNITS, noise_stddev=0.0).draw_noise(2, 3, 4)) == 0).all()


def test_training_is_noisy(queries, memory):
    layer = MonotonicAttention(UNITS, seed=1)
    one, other = (to_numpy(layer(queries[:, 0], memory, training=True)[1]) for _ in range(2))
    assert (one != other).all()


@pytest.mark.parametrize("training", [False, True])
def test_states_are_exact_in_half_precision(training):
    """float16 has gaps between integers beyond 2048, and its smallest number is 6e-8."""
    layer = attention_with(dtype="mixed_float16")
    memory = random(BATCH, SOURCE, WIDTH)
    states = layer.get_initial_state(memory, training)
    noise = np.zeros((BATCH, SOURCE)) if training else None
    query, keys = random(BATCH, WIDTH), layer.project_keys(memory)
    context, weights, new_states = layer.attend(query, keys, memory, states=states, noise=noise)
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in (*states, *new_states)]
    assert dtypes == ["float32" if training else "int32"] * 2
    assert {keras.backend.standardize_dtype(t.dtype) for t in (context, weights)} == {"float16"}
