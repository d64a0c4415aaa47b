"""Tests of LuongAttention against the paper's equations."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import (
    FLOAT64_ROUNDING,
    assert_close,
    check_gradients,
    check_layer,
    examples,
    random,
    to_numpy,
)

from layers import LuongAttention

BATCH, SOURCE, WIDTH, UNITS = 3, 7, 4, 5
SCORES = ["dot", "general", "concat"]


@pytest.fixture
def memory() -> np.ndarray:
    return random(BATCH, SOURCE, WIDTH)


@pytest.fixture
def queries() -> np.ndarray:
    return random(BATCH, 2, WIDTH, seed=1)


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, a row with gaps on all sides and a row without anything to read."""
    return np.array([[1] * 7, [0, 1, 1, 0, 0, 1, 0], [0] * 7], dtype=bool)


def luong_attention(query, memory, mask, weights, score, window):
    """Luong et al. (2015), equations 7 to 10, for one query and one source without its masked positions."""
    weights = list(weights)
    attention = np.zeros(len(memory))
    real = np.flatnonzero(mask)
    if score == "general":
        kernel = weights.pop(0)
    elif score == "concat":
        key_kernel, query_kernel, hidden = weights.pop(0), weights.pop(0), weights.pop(0)[:, 0]
    scores = []
    for index in real:
        if score == "dot":
            scores.append(query @ memory[index])
        elif score == "general":
            scores.append(query @ kernel.T @ memory[index])
        else:
            kernel = np.concatenate([query_kernel, key_kernel])
            scores.append(hidden @ np.tanh(np.concatenate([query, memory[index]]) @ kernel))
    inside, gaussian = range(len(real)), np.ones(len(real))
    if window is not None:
        position_kernel, position = weights
        predicted = len(real) / (1 + np.exp(-np.tanh(query @ position_kernel) @ position[:, 0]))
        inside = [s for s in inside if predicted - window <= s <= predicted + window]
        gaussian = np.exp(-((np.arange(len(real)) - predicted) ** 2) / (2 * (window / 2) ** 2))
    total = sum(np.exp(scores[s]) for s in inside)
    for s in inside:
        attention[real[s]] = np.exp(scores[s]) / total * gaussian[s]
    return attention @ memory, attention


def batch_attention(query, memory, mask, weights, score, window):
    """`luong_attention` for every query of every row."""
    results = [
        [luong_attention(q, memory[row], mask[row], weights, score, window) for q in query[row]]
        for row in range(len(memory))
    ]
    return tuple(np.array([[result[i] for result in row] for row in results]) for i in range(2))


@pytest.mark.parametrize(
    ("settings", "queries", "weights"),
    [
        ({"score": "dot", "window": 2}, (), 2),
        ({"score": "general"}, (2,), 1),
        ({"score": "concat", "units": UNITS}, (), 3),
        ({"score": "general", "window": 2}, (2,), 3),
    ],
    ids=str,
)
def test_layer(settings, queries, weights, memory, mask, tmp_path):
    memory_width = WIDTH if settings["score"] == "dot" else 3
    check_layer(
        lambda **kwargs: LuongAttention(
            **{
                "kernel_initializer": keras.initializers.RandomNormal(stddev=0.5, seed=1),
                **settings,
                **kwargs,
            }
        ),
        {
            "query": random(BATCH, *queries, WIDTH, seed=1).astype("float32"),
            "memory": memory[..., :memory_width].astype("float32"),
            "memory_mask": mask,
        },
        expected_shapes=[(BATCH, *queries, memory_width), (BATCH, *queries, SOURCE)],
        expected_trainable_weights=weights,
        tmp_path=tmp_path,
        masked="memory",
        invalid_arguments={
            "score": ["bilinear", None],
            "window": [0, -1, 2.5],
            "units": [0, -1, 2.5],
        },
    )


@pytest.mark.parametrize("window", [None, 1, 2, 20])
@pytest.mark.parametrize("score", SCORES)
def test_equals_the_equations(score, window, queries, memory, mask):
    layer = LuongAttention(score, window, UNITS, "random_normal", dtype="float64")
    layer.build(queries.shape, memory.shape)
    layer.set_weights([random(*weight.shape, seed=3) for weight in layer.weights])
    expected = batch_attention(queries, memory, mask, layer.get_weights(), score, window)
    assert_close(layer(queries, memory, memory_mask=mask), expected, atol=FLOAT64_ROUNDING)
    everywhere = np.ones_like(mask)
    expected = batch_attention(queries, memory, everywhere, layer.get_weights(), score, window)
    assert_close(layer(queries, memory), expected, atol=FLOAT64_ROUNDING)
    assert_close(layer(queries[:, 1], memory), [array[:, 1] for array in expected], atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize(("score", "window"), [("dot", None), ("general", 2), ("concat", 3)])
def test_gradients_equal_finite_differences(score, window, queries, memory, mask):
    layer = LuongAttention(score, window, UNITS, dtype="float64")
    layer.build(queries.shape, memory.shape)
    layer.set_weights([random(*weight.shape, seed=3) for weight in layer.weights])
    check_gradients(
        layer,
        {"query": queries, "memory": memory},
        lambda query, memory, weights: batch_attention(query, memory, mask, weights, score, window),
        memory_mask=mask,
    )


@pytest.mark.parametrize("score", SCORES)
def test_projecting_once_and_attending_is_calling(score, queries, memory, mask):
    layer = LuongAttention(score, window=2, units=UNITS)
    called = layer(queries, memory, memory_mask=mask)
    keys = layer.project_keys(memory)
    assert keys.shape == (BATCH, SOURCE, UNITS if score == "concat" else WIDTH)
    context, weights, states = layer.attend(queries, keys, memory, mask)
    assert_close((context, weights), called, atol=0)
    assert states == []


@examples(40)
@given(
    mask=st.lists(st.booleans(), min_size=SOURCE, max_size=SOURCE),
    score=st.sampled_from(SCORES),
    window=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 1000),
)
def test_masked_positions_do_not_exist(mask, score, window, seed):
    """Whatever lies in gaps and padding, the real positions have the weights they have without these."""
    initializer = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    layer = LuongAttention(score, window, kernel_initializer=initializer, dtype="float64")
    query, memory, mask = random(1, WIDTH, seed=seed), random(1, SOURCE, WIDTH, seed=seed), np.array([mask])
    context, weights = to_numpy(layer(query, np.where(mask[..., None], memory, 1e3), memory_mask=mask))
    assert (weights[~mask] == 0).all()
    if not mask.any():
        assert (context == 0).all()
        return
    if window is None:
        np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)
    assert_close((context, weights[mask][None]), layer(query, memory[mask][None]), atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("bias", [-1e4, 1e4])
def test_a_window_at_either_end_is_never_empty(bias):
    """The predicted position goes from 0 to the number of positions, one past the last."""
    layer = LuongAttention("dot", window=1)
    query, memory = np.ones((1, 2), "float32"), np.zeros((1, 5, 2), "float32")
    layer.build(query.shape, memory.shape)
    layer.set_weights([np.eye(2), np.full((2, 1), bias)])
    _, weights = to_numpy(layer(query, memory))
    beside = np.exp(-2.0)
    expected = [0.5, 0.5 * beside, 0, 0, 0] if bias < 0 else [0, 0, 0, 0, beside]
    assert_close(weights[0], np.array(expected))


def test_weights_of_one_seed_differ():
    layer = LuongAttention("concat", 2, kernel_initializer=keras.initializers.RandomNormal(seed=1))
    layer.build((None, WIDTH), (None, None, WIDTH))
    squares = [weight for weight in layer.get_weights() if weight.shape == (WIDTH, WIDTH)]
    assert len(squares) == 3
    assert all((one != other).any() for one, other in zip(squares, squares[1:] + squares[:1], strict=True))


def test_regularizer_reaches_every_weight(queries, memory):
    layer = LuongAttention("concat", 2, UNITS, "ones", "l1")
    layer(queries, memory)
    # Every entry costs 0.01.
    assert_close(sorted(layer.losses, key=float), [0.05, 0.05, 0.2, 0.2, 0.2])


def test_dot_needs_equal_widths():
    message = (
        'Received an invalid value for argument `score`, expected "general" or "concat" for a query and a '
        'memory of different widths, got "dot" for the widths 4 and 6\\.'
    )
    with pytest.raises(ValueError, match=message):
        LuongAttention("dot").build((None, 4), (None, None, 6))
