"""Tests of MemoryNetwork against the papers' equations."""

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

from layers import MemoryNetwork

BATCH, SOURCE, QUERY_WIDTH, MEMORY_WIDTH, UNITS = 3, 5, 4, 6, 3
# A full row, a row with a gap and a row without anything to read.
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def read(query, keys, values, mask, weights, hops, max_positions):
    """Sukhbaatar et al. (2015), section 2.2 with adjacent tying, for one query; see the layer's docstring."""
    query_kernel, *kernels = weights[-hops - 2 :]
    times = weights[0] if max_positions else np.zeros((hops + 1, 1, query_kernel.shape[1]))
    real = np.flatnonzero(mask)
    u, p = query @ query_kernel, np.zeros(len(keys))
    for hop in range(hops):
        if len(real) == 0:
            break
        m, c = np.zeros((2, len(real), len(u)))
        for number, position in enumerate(real):
            place = min(len(real) - 1 - number, times.shape[1] - 1)
            m[number] = keys[position] @ kernels[hop] + times[hop, place]
            c[number] = values[position] @ kernels[hop + 1] + times[hop + 1, place]
        p[real] = softmax(m @ u)
        u = u + p[real] @ c
    return u, p


def read_rows(query, memory, weights, values=None, mask=MASK, hops=2, max_positions=None):
    values = memory if values is None else values
    rows = [
        [read(one, *row, weights, hops, max_positions) for one in np.atleast_2d(queries)]
        for queries, *row in zip(query, memory, values, mask, strict=True)
    ]
    shape = query.shape[:-1]
    return [np.array([[one[i] for one in row] for row in rows]).reshape(*shape, -1) for i in (0, 1)]


@pytest.fixture
def inputs():
    return {"query": random(BATCH, QUERY_WIDTH), "memory": random(BATCH, SOURCE, MEMORY_WIDTH, seed=1)}


@pytest.mark.parametrize(("queries", "max_positions"), [((), None), ((2,), 3)])
def test_layer(queries, max_positions, tmp_path):
    settings = {"units": UNITS, "hops": 2, "max_positions": max_positions}
    check_layer(
        lambda **arguments: MemoryNetwork(**settings | arguments),
        {
            "query": random(BATCH, *queries, QUERY_WIDTH).astype("float32"),
            "memory": random(BATCH, SOURCE, MEMORY_WIDTH, seed=1).astype("float32"),
            "memory_mask": MASK,
        },
        expected_shapes=[(BATCH, *queries, UNITS), (BATCH, *queries, SOURCE)],
        # B, A_1 to A_3, and the temporal encoding.
        expected_trainable_weights=4 if max_positions is None else 5,
        tmp_path=tmp_path,
        masked="memory",
        empty_rows_are_zero=False,
        invalid_arguments={"units": [0, 2.5], "hops": [0, None], "max_positions": [0, "3"]},
    )


@pytest.mark.parametrize("queries", [(), (2,)])
@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("max_positions", [None, 2, 9])
def test_equals_the_equations_and_its_gradient_finite_differences(queries, with_values, max_positions):
    """With fewer temporal encodings than positions, and with more."""
    arrays = {
        "query": random(BATCH, *queries, QUERY_WIDTH),
        "memory": random(BATCH, SOURCE, MEMORY_WIDTH, seed=1),
    }
    if with_values:
        arrays["values"] = random(BATCH, SOURCE, MEMORY_WIDTH, seed=2)
    layer = MemoryNetwork(UNITS, hops=2, max_positions=max_positions, dtype="float64")
    outputs = layer(**arrays, memory_mask=MASK)
    expected = read_rows(**arrays, weights=layer.get_weights(), max_positions=max_positions)
    assert_close(outputs, expected, atol=FLOAT64_ROUNDING)
    check_gradients(
        layer, arrays, lambda **given: read_rows(**given, max_positions=max_positions), memory_mask=MASK
    )


def test_the_keys_of_a_hop_are_the_values_of_the_one_before(inputs):
    layer = MemoryNetwork(UNITS, hops=4)
    layer(**inputs)
    assert len(layer.trainable_weights) == 1 + 5
    keys, values = layer.project_keys(inputs["memory"])
    assert len(keys) == len(values) == 4
    assert_close(keys[1:], values[:-1], atol=0)


@pytest.mark.parametrize("with_values", [False, True])
def test_projecting_once_and_attending_is_calling(inputs, with_values):
    layer = MemoryNetwork(UNITS, max_positions=3)
    values = random(BATCH, SOURCE, MEMORY_WIDTH, seed=2) if with_values else None
    called = layer(**inputs, memory_mask=MASK, values=values)
    projections = layer.project_keys(inputs["memory"], values)
    assert_close(layer.attend(inputs["query"], projections, inputs["memory"], MASK), (*called, []), atol=0)


def test_what_is_addressed_by_a_key_is_read_from_its_value(inputs):
    """Far apart keys choose one position; one hop reads its value alone."""
    layer = MemoryNetwork(UNITS, hops=1)
    layer(**inputs)
    query_kernel, _, value_kernel = layer.get_weights()
    values = random(BATCH, SOURCE, MEMORY_WIDTH, seed=2)
    context, weights = to_numpy(layer(inputs["query"], 1e4 * inputs["memory"], values=values))
    chosen = np.argmax(weights, axis=1)
    assert_close(weights, np.eye(SOURCE)[chosen])
    expected = inputs["query"] @ query_kernel + values[np.arange(BATCH), chosen] @ value_kernel
    assert_close(context, expected, atol=1e-5)


def test_where_nothing_may_be_read_there_is_only_the_query(inputs):
    layer = MemoryNetwork(UNITS, max_positions=2)
    context, weights = to_numpy(layer(**inputs, memory_mask=MASK))
    assert (weights[2] == 0).all()
    assert_close(context[2], layer.query_projection(inputs["query"])[2])


def test_without_temporal_encoding_order_does_not_count(inputs):
    reverse = {**inputs, "memory": inputs["memory"][:, ::-1].copy()}
    for max_positions in (None, 1):  # one encoding that all positions share
        layer = MemoryNetwork(UNITS, max_positions=max_positions)
        assert_close(layer(**inputs)[0], layer(**reverse)[0])
    layer = MemoryNetwork(UNITS, max_positions=2)
    assert np.abs(to_numpy(layer(**inputs)[0]) - to_numpy(layer(**reverse)[0])).max() > 1e-4


@examples(25)
@given(
    mask=st.lists(st.booleans(), min_size=SOURCE, max_size=SOURCE).map(lambda row: np.array([row])),
    seed=st.integers(0, 1000),
)
def test_masked_positions_do_not_exist(mask, seed):
    layer = MemoryNetwork(UNITS, max_positions=3)
    query, memory = random(1, QUERY_WIDTH, seed=seed), 5 * random(1, SOURCE, MEMORY_WIDTH, seed=seed)
    context, weights = to_numpy(layer(query, memory, memory_mask=mask))
    assert (weights[~mask] == 0).all()
    np.testing.assert_allclose(weights.sum(), float(mask.any()), atol=1e-6)
    if mask.any():
        alone = layer(query, memory[mask][None])
        assert_close((context, weights[mask][None]), alone, atol=1e-5)


def test_the_context_is_as_wide_as_the_units():
    assert MemoryNetwork(UNITS).context_width(MEMORY_WIDTH) == UNITS


def test_projections_of_one_seed_start_different():
    layer = MemoryNetwork(UNITS, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer.build((None, MEMORY_WIDTH), (None, None, MEMORY_WIDTH))
    kernels = layer.get_weights()
    assert len(kernels) == 5
    for index, kernel in enumerate(kernels):
        assert all((kernel != other).any() for other in kernels[:index])


def test_regularizers_reach_the_weights(inputs):
    layer = MemoryNetwork(2, 1, kernel_initializer="ones", kernel_regularizer="l1")
    layer(**inputs)
    assert_close(sorted(layer.losses, key=float), [0.01 * 8, 0.01 * 12, 0.01 * 12])


def test_values_of_another_width_are_refused(inputs):
    with pytest.raises(
        ValueError,
        match=r"argument `values`, expected a tensor of the width of the memory, 6, .+ \(3, 5, 2\)",
    ):
        MemoryNetwork(UNITS)(**inputs, values=random(BATCH, SOURCE, 2))
