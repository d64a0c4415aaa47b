"""Tests of what all attentions have in common."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import assert_close, random, to_numpy

from layers import (
    BahdanauAttention,
    HardAttention,
    HardSelection,
    LuongAttention,
    MemoryNetwork,
    MonotonicAttention,
)

BATCH, SOURCE, WIDTH, UNITS = 3, 5, 4, 7
# A full row, a row with a gap and a row without anything to read.
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")

ATTENTIONS = {
    "bahdanau": lambda **kwargs: BahdanauAttention(UNITS, **kwargs),
    "dot": lambda **kwargs: LuongAttention("dot", **kwargs),
    "general": lambda **kwargs: LuongAttention("general", window=2, **kwargs),
    "concat": lambda **kwargs: LuongAttention("concat", window=2, **kwargs),
    "hard": lambda **kwargs: HardAttention(UNITS, HardSelection(soft_mixing=1.0), **kwargs),
    "straight_through": lambda **kwargs: HardAttention(
        UNITS, HardSelection("straight_through", soft_mixing=0.0), **kwargs
    ),
    "monotonic": lambda **kwargs: MonotonicAttention(UNITS, score_bias=3.0, **kwargs),
    "memory network": lambda **kwargs: MemoryNetwork(UNITS, max_positions=2, **kwargs),
}
every_attention = pytest.mark.parametrize("make_layer", ATTENTIONS.values(), ids=ATTENTIONS)


@pytest.fixture
def inputs() -> dict[str, np.ndarray]:
    inputs = {"query": random(BATCH, 2, WIDTH), "memory": random(BATCH, SOURCE, WIDTH, seed=1)}
    return {name: array.astype("float32") for name, array in inputs.items()}


def filled(memory: np.ndarray, filler: float) -> np.ndarray:
    return np.where(MASK[..., None], memory, filler).astype("float32")


@pytest.mark.parametrize("filler", [1e3, np.inf, np.nan])
@every_attention
def test_masked_positions_do_not_exist(make_layer, filler, inputs):
    layer = make_layer()
    outputs = layer(**inputs, memory_mask=MASK)
    assert np.isfinite(to_numpy(outputs[0])).all()
    junk = filled(inputs["memory"], filler)
    assert_close(layer(inputs["query"], junk, memory_mask=MASK), outputs, atol=0)


@tensorflow_only
@pytest.mark.parametrize("filler", [np.inf, np.nan])
@every_attention
def test_masked_positions_have_no_gradient(make_layer, filler, inputs):
    import tensorflow as tf

    layer = make_layer()
    layer(**inputs)
    query, memory = tf.constant(inputs["query"]), tf.constant(filled(inputs["memory"], filler))
    with tf.GradientTape() as tape:
        tape.watch([query, memory])
        context, _ = layer(query, memory, memory_mask=MASK, training=True)
        loss = tf.reduce_sum(context**2)
    sources = [query, memory, *(weight.value for weight in layer.trainable_weights)]
    gradients = tape.gradient(loss, sources)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert (gradients[1].numpy()[~MASK] == 0).all()
    assert (gradients[1].numpy()[MASK] != 0).any()


def test_masked_pairs_do_not_exist(inputs):
    layer, values = MemoryNetwork(UNITS), random(BATCH, SOURCE, WIDTH, seed=2)
    outputs = layer(**inputs, memory_mask=MASK, values=values)
    junk = layer(**inputs, memory_mask=MASK, values=filled(values, np.nan))
    assert_close(junk, outputs, atol=0)


@every_attention
def test_the_mask_that_the_memory_carries_is_obeyed(make_layer, inputs):
    tokens = np.where(MASK, np.arange(1, SOURCE + 1), 0)
    memory = keras.layers.Embedding(SOURCE + 1, WIDTH, mask_zero=True)(tokens)
    layer = make_layer()
    carried = layer(inputs["query"], memory)
    memory = ops.convert_to_numpy(memory)
    assert_close(carried, layer(inputs["query"], memory, memory_mask=MASK), atol=0)
    assert np.abs(to_numpy(carried[1]) - to_numpy(layer(inputs["query"], memory)[1])).max() > 1e-3


@pytest.mark.parametrize("value", [12.0, 250.0])
@pytest.mark.parametrize(
    "make_layer",
    [
        lambda **kwargs: LuongAttention("dot", **kwargs),
        lambda **kwargs: LuongAttention("general", kernel_initializer="identity", **kwargs),
        lambda **kwargs: MemoryNetwork(512, 1, kernel_initializer="identity", **kwargs),
        lambda **kwargs: MemoryNetwork(
            512, 1, 2, kernel_initializer="identity", positions_initializer="ones", **kwargs
        ),
    ],
    ids=["dot", "general", "memory network", "temporal"],
)
@pytest.mark.parametrize("dtype", ["float16", "mixed_float16"])
def test_scores_do_not_overflow(dtype, make_layer, value):
    """512 times 12 squared is 73728; float16 ends at 65504."""
    query, memory = np.full((1, 512), value), np.full((1, 3, 512), value)
    memory[:, 1] *= -1
    context, weights = make_layer(dtype=dtype)(query.astype("float16"), memory.astype("float16"))
    assert np.isfinite(to_numpy(context)).all()
    assert to_numpy(weights)[0, 1] == 0
    np.testing.assert_allclose(to_numpy(weights).sum(), 1, atol=1e-3)


@pytest.mark.parametrize("name", ["bahdanau", "general", "hard", "monotonic", "memory network"])
def test_keys_need_weights(name, inputs):
    layer = ATTENTIONS[name](name="reading")
    message = rf"{type(layer).__name__} 'reading' has no weights yet\. Call it once, or call `build"
    with pytest.raises(ValueError, match=message):
        layer.project_keys(inputs["memory"])
    layer.build((None, WIDTH), (None, None, WIDTH))
    layer.project_keys(inputs["memory"])
