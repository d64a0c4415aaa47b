"""Tests of CNNLSTM against NumPy: convolution, pooling and LSTM row by row."""

import keras
import numpy as np
import pytest
from layer_checks import FLOAT64_ROUNDING, assert_close, check_gradients, check_layer, random
from numpy_references import lstm_step

from layers import RecurrentStack
from layers.rnn.cnn_lstm import CNNLSTM

BATCH, TIME, FEATURES, FILTERS, UNITS = 5, 7, 3, 4, 5


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, rows padded on the right, one with gaps, and one without any real step."""
    return np.array(
        [[1] * 7, [1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0, 1], [1, 0, 0, 0, 0, 0, 0], [0] * 7], dtype=bool
    )


def make_layer(**options) -> CNNLSTM:
    """A layer whose convolution has features of both signs."""
    layer = CNNLSTM(**{"units": UNITS, "filters": FILTERS, "activation": "tanh", **options})
    layer.build((None, None, FEATURES))
    layer.set_weights([random(*weight.shape, seed=i) for i, weight in enumerate(layer.weights)])
    return layer


def numpy_row(row, mask, pool_size, weights):
    """Convolution, maxima and LSTM for one row; returns outputs and the final states."""
    kernel, bias, *lstm_weights = weights
    size, time = len(kernel), len(row)
    features = np.full((time, len(bias)), -np.inf)
    for t in np.flatnonzero(mask):
        seen = [t - (size - 1) // 2 + tap for tap in range(size)]
        taps = [
            (tap, position) for tap, position in enumerate(seen) if 0 <= position < time and mask[position]
        ]
        features[t] = np.tanh(bias + sum(row[position] @ kernel[tap] for tap, position in taps))
    outputs, states = [], [np.zeros(UNITS), np.zeros(UNITS)]
    for start in range(0, time, pool_size):
        if mask[start : start + pool_size].any():
            states = lstm_step(features[start : start + pool_size].max(axis=0), states, lstm_weights)
            outputs.append(states[0])
        else:
            outputs.append(np.zeros(UNITS))
    return np.array(outputs), states


def numpy_cnn_lstm(inputs, mask, pool_size, weights):
    rows = [numpy_row(row, row_mask, pool_size, weights) for row, row_mask in zip(inputs, mask, strict=True)]
    outputs, states = zip(*rows, strict=True)
    return np.array(outputs), [[np.array(state) for state in zip(*states, strict=True)]]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"pool_size": 3, "activation": "tanh"}, 3),
        ({"depth": 2, "bidirectional": True, "residual": True, "dropout": 0.3, "kernel_size": 4}, 4),
    ],
)
def test_layer(options, steps, inputs, mask, tmp_path):
    depth, directions = options.get("depth", 1), 2 if options.get("bidirectional") else 1
    check_layer(
        lambda **kwargs: CNNLSTM(**{"units": UNITS, "filters": FILTERS, **options, **kwargs}),
        {"inputs": inputs, "mask": mask},
        expected_shapes=[(BATCH, steps, directions * UNITS)] + [(BATCH, directions * UNITS)] * 2 * depth,
        expected_trainable_weights=2 + 3 * depth * directions,
        tmp_path=tmp_path,
        invalid_arguments={
            "units": [0, 2.5],
            "filters": [0, -1],
            "kernel_size": [0, None],
            "pool_size": [0, 1.0],
            "depth": [0],
            "dropout": [1.0],
        },
    )


@pytest.mark.parametrize("pool_size", [1, 2, 3, 10])
@pytest.mark.parametrize("kernel_size", [1, 4, 5])
def test_equals_numpy(kernel_size, pool_size, inputs, mask):
    layer = make_layer(kernel_size=kernel_size, pool_size=pool_size, dtype="float64")
    weights = layer.get_weights()
    for some_mask in [mask, None]:
        real = np.ones_like(mask) if some_mask is None else some_mask
        expected = numpy_cnn_lstm(inputs.astype("float64"), real, pool_size, weights)
        assert_close(layer(inputs, mask=some_mask), expected, atol=FLOAT64_ROUNDING)


def test_gradients_equal_finite_differences(inputs, mask):
    check_gradients(
        make_layer(pool_size=3, dtype="float64"),
        {"inputs": inputs.astype("float64")},
        lambda inputs, weights: numpy_cnn_lstm(inputs, mask, 3, weights),
        mask=mask,
    )


def test_mask_of_the_outputs(inputs, mask):
    expected = [[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]]
    layer = make_layer(pool_size=3)
    computed = keras.ops.convert_to_numpy(layer.compute_mask(inputs, mask))
    assert computed.dtype == bool
    np.testing.assert_array_equal(computed, expected)
    assert layer.compute_mask(inputs) is None
    outputs, _ = layer(keras.layers.Masking()(np.where(mask[..., None], inputs, 0)))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs._keras_mask), expected)


def test_reads_what_it_pooled_as_the_stack_does(inputs):
    options = {"depth": 2, "bidirectional": True, "residual": True}
    layer = make_layer(pool_size=1, **options)
    stack = RecurrentStack(keras.layers.LSTM(UNITS), **options)
    stack.build((None, None, FILTERS))
    stack.set_weights(layer.get_weights()[2:])
    assert_close(layer(inputs), stack(layer.convolution(inputs)))


def test_dropout_and_seed_are_the_stacks(inputs):
    layer = make_layer(dropout=0.5, seed=3)
    assert (layer.stack.dropout, layer.stack.seed) == (0.5, 3)
    plain, dropped = (layer(inputs, training=training)[0] for training in (False, True))
    assert (keras.ops.convert_to_numpy(plain) != keras.ops.convert_to_numpy(dropped)).any()


def test_nan_under_the_mask_does_not_show(inputs, mask):
    layer = make_layer()
    junk = np.where(mask[..., None], inputs, np.nan)
    assert_close(layer(junk, mask=mask), layer(inputs, mask=mask), atol=0)
