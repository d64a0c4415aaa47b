"""Tests of BahdanauAttention against the paper's equations."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import FLOAT64_ROUNDING, assert_close, check_layer, examples, to_numpy
from numpy_references import additive_attention

from layers import BahdanauAttention, HardAttention, MonotonicAttention
from layers.attention._attention import Attention

BATCH, SOURCE, QUERY_WIDTH, MEMORY_WIDTH, UNITS = 3, 5, 4, 6, 7
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.fixture
def memory() -> np.ndarray:
    return random(BATCH, SOURCE, MEMORY_WIDTH)


@pytest.fixture
def query() -> np.ndarray:
    return random(BATCH, QUERY_WIDTH, seed=1)


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, a row with a gap and a row without anything to read."""
    return np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)


@pytest.mark.parametrize("queries", [(), (2,)])
def test_layer(queries, memory, mask, tmp_path):
    check_layer(
        lambda **kwargs: BahdanauAttention(UNITS, **kwargs),
        {"query": random(BATCH, *queries, QUERY_WIDTH), "memory": memory, "memory_mask": mask},
        expected_shapes=[(BATCH, *queries, MEMORY_WIDTH), (BATCH, *queries, SOURCE)],
        expected_trainable_weights=4,
        tmp_path=tmp_path,
        masked="memory",
    )


def test_equals_the_equations(query, memory, mask):
    layer = BahdanauAttention(UNITS, bias_initializer="random_normal", dtype="float64")
    context, weights = to_numpy(layer(query, memory, memory_mask=mask))
    for row in range(BATCH):
        expected = additive_attention(query[row], memory[row], mask[row], layer.get_weights())
        assert_close([context[row], weights[row]], expected, atol=FLOAT64_ROUNDING)


def test_no_mask_is_a_mask_of_true(query, memory):
    layer = BahdanauAttention(UNITS)
    assert_close(layer(query, memory), layer(query, memory, memory_mask=np.ones((BATCH, SOURCE), bool)))


def test_projecting_once_and_attending_is_calling(query, memory, mask):
    layer = BahdanauAttention(UNITS)
    called = layer(query, memory, memory_mask=mask)
    keys = layer.project_keys(memory)
    assert keys.shape == (BATCH, SOURCE, UNITS)
    context, weights, states = layer.attend(query, keys, memory, mask)
    assert_close((context, weights), called, atol=0)
    assert states == []


def test_every_query_is_answered_as_if_alone(memory, mask):
    layer = BahdanauAttention(UNITS)
    queries = random(BATCH, 4, QUERY_WIDTH)
    context, weights = layer(queries, memory, memory_mask=mask)
    for index in range(4):
        assert_close(
            (context[:, index], weights[:, index]), layer(queries[:, index], memory, memory_mask=mask)
        )


@examples(30)
@given(
    mask=st.lists(st.booleans(), min_size=SOURCE, max_size=SOURCE).map(lambda row: np.array([row])),
    scale=st.floats(0, 1e3),
    seed=st.integers(0, 2**32 - 1),
)
def test_masked_positions_do_not_exist(mask, scale, seed):
    layer = BahdanauAttention(
        UNITS, kernel_initializer=keras.initializers.RandomNormal(stddev=3.0, seed=seed)
    )
    query, memory = scale * random(1, QUERY_WIDTH, seed=seed), random(1, SOURCE, MEMORY_WIDTH, seed=seed)
    context, weights = to_numpy(layer(query, memory, memory_mask=mask))
    assert (weights[~mask] == 0).all()
    np.testing.assert_allclose(weights.sum(), float(mask.any()), atol=1e-6)
    other = np.where(mask[..., None], memory, -7.0)
    assert_close(layer(query, other, memory_mask=mask), (context, weights), atol=0)


def test_context_is_zero_where_nothing_may_be_read(query, memory, mask):
    context, weights = to_numpy(BahdanauAttention(UNITS)(query, memory, memory_mask=mask))
    assert (context[2] == 0).all()
    assert (weights[2] == 0).all()


def test_small_weights_survive_half_precision():
    """A softmax that sums in float16 would overflow at 65504."""
    layer = BahdanauAttention(1, dtype="float16")
    context, weights = layer(np.ones((1, 1), "float16"), np.ones((1, 70_000, 1), "float16"))
    np.testing.assert_allclose(to_numpy(weights), 1 / 70_000, rtol=0.01)
    np.testing.assert_allclose(to_numpy(context), 1.0, rtol=0.01)


def test_initializers_and_regularizers_reach_the_weights(query, memory):
    layer = BahdanauAttention(2, "ones", "zeros", kernel_regularizer="l1", bias_regularizer="l1")
    layer(query, memory)
    # Every kernel entry costs 0.01, and each kernel and the bias has its own loss.
    assert_close(sorted(layer.losses, key=float), [0.0, 0.01 * 2, 0.01 * 8, 0.01 * 12])


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("attention", [BahdanauAttention, HardAttention, MonotonicAttention])
def test_same_width_projections_start_different(attention, seed):
    layer = attention(UNITS, kernel_initializer=keras.initializers.GlorotUniform(seed=seed))
    layer.build((None, 4), (None, None, 4))
    assert (to_numpy(layer.query_projection.kernel) != to_numpy(layer.key_projection.kernel)).all()


def test_an_initializer_may_be_a_function():
    layer = BahdanauAttention(1, lambda shape, dtype: keras.ops.full(shape, 7, dtype))
    layer.build((None, 4), (None, None, 4))
    assert (to_numpy(layer.key_projection.kernel) == 7).all()


@tensorflow_only
@pytest.mark.parametrize("wrt", ["query", "memory", "weights"])
def test_gradient_equals_finite_differences(wrt, query, memory, mask):
    import tensorflow as tf

    layer = BahdanauAttention(UNITS, bias_initializer="random_normal", dtype="float64")
    arrays = {"query": query.astype("float64"), "memory": memory.astype("float64")}
    layer(**arrays)
    readout = np.random.default_rng(2).normal(size=(BATCH, MEMORY_WIDTH))

    def numpy_loss(query, memory, weights):
        contexts = [
            additive_attention(q, m, k, weights)[0] for q, m, k in zip(query, memory, mask, strict=True)
        ]
        return (np.array(contexts) * readout).sum()

    with tf.GradientTape() as tape:
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        tape.watch(tensors)
        context, _ = layer(**tensors, memory_mask=mask)
        loss = tf.reduce_sum(context * readout)
    values = {**arrays, "weights": layer.get_weights()}
    sources = {**tensors, "weights": [weight.value for weight in layer.trainable_weights]}
    gradients = [tf.convert_to_tensor(g).numpy() for g in tf.nest.flatten(tape.gradient(loss, sources[wrt]))]
    targets = values[wrt] if wrt == "weights" else [values[wrt]]
    for array, gradient in zip(targets, gradients, strict=True):
        expected = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            kept, step = array[index], 1e-6
            array[index] = kept + step
            upper = numpy_loss(**values)
            array[index] = kept - step
            expected[index] = (upper - numpy_loss(**values)) / (2 * step)
            array[index] = kept
        np.testing.assert_allclose(gradient, expected, atol=1e-8)


@tensorflow_only
def test_beams_share_the_memory():
    """No tensor of the traced graph is as large as the memory repeated for each query."""
    import tensorflow as tf

    queries, source, width = 4, 8, 100
    layer = BahdanauAttention(2)
    memory = tf.zeros((1, source, width))
    layer(tf.zeros((1, 3)), memory)
    trace = tf.function(layer.attend).get_concrete_function(
        tf.zeros((1, queries, 3)), layer.project_keys(memory), memory
    )
    sizes = [t.shape.num_elements() or 0 for op in trace.graph.get_operations() for t in op.outputs]
    assert source * width <= max(sizes) < queries * source * width


@pytest.mark.parametrize("units", [0, -1, 2.5, None])
def test_invalid_units(units):
    message = f"Received an invalid value for argument `units`, expected a positive integer, got {units}\\."
    with pytest.raises(ValueError, match=message):
        BahdanauAttention(units)


def test_a_base_that_does_not_weigh(query, memory):
    with pytest.raises(NotImplementedError, match="Attention does not say how it weighs the memory"):
        Attention()(query, memory)
