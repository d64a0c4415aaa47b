"""Tests of TextCNN against a NumPy version of the paper's equations."""

import keras
import numpy as np
import pytest
from layer_checks import FLOAT64_ROUNDING, assert_close, check_gradients, check_layer, random, to_numpy

from layers.text.text_cnn import TextCNN

BATCH, TIME, FEATURES, FILTERS, WIDTHS = 4, 6, 3, 5, [1, 2, 3, 4]


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, one padded on the right, one with gaps, and one without any real step."""
    return np.array([[1] * 6, [1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 1, 0], [0] * 6], dtype=bool)


def make_layer(**options) -> TextCNN:
    """A layer whose features are all nonzero, and about half of them negative."""
    layer = TextCNN(**{"filters": FILTERS, "kernel_sizes": WIDTHS, "activation": "tanh", **options})
    layer.build((None, None, FEATURES))
    layer.set_weights([random(*weight.shape, seed=i) for i, weight in enumerate(layer.weights)])
    return layer


def numpy_text_cnn(inputs, mask, weights, kernel_sizes=WIDTHS, function=np.tanh):
    """c_t = f(w . x_{t - (h-1)//2 : t + h//2} + b) and max over real t (Kim, section 2)."""
    batch, time, _ = inputs.shape
    outputs = np.zeros((batch, time, sum(kernel.shape[2] for kernel in weights[::2])))
    pooled = np.zeros((batch, outputs.shape[2]))
    for row in range(batch):
        for t in np.flatnonzero(mask[row]):
            features = []
            for width, kernel, bias in zip(kernel_sizes, weights[::2], weights[1::2], strict=True):
                feature = bias.copy()
                for tap in range(width):
                    position = t - (width - 1) // 2 + tap
                    if 0 <= position < time and mask[row, position]:
                        feature += inputs[row, position] @ kernel[tap]
                features.append(function(feature))
            outputs[row, t] = np.concatenate(features)
        if mask[row].any():
            pooled[row] = outputs[row, mask[row]].max(axis=0)
    return outputs, [[pooled]]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_layer(activation, inputs, mask, tmp_path):
    options = {"filters": FILTERS, "kernel_sizes": (2, 3, 5), "activation": activation, "dropout": 0.3}
    check_layer(
        lambda **kwargs: TextCNN(**{**options, **kwargs}),
        {"inputs": inputs, "mask": mask},
        expected_shapes=[(BATCH, TIME, 3 * FILTERS), (BATCH, 3 * FILTERS)],
        expected_trainable_weights=6,
        tmp_path=tmp_path,
        invalid_arguments={
            "filters": [0, -1, 2.5],
            "kernel_sizes": [(), 3, (3, 0), (2.5,), None],
            "dropout": [-0.1, 1.0],
        },
    )


def test_equals_the_equations(inputs, mask):
    layer = make_layer(dtype="float64")
    expected = numpy_text_cnn(inputs.astype("float64"), mask, layer.get_weights())
    assert_close(layer(inputs, mask=mask), expected, atol=FLOAT64_ROUNDING)
    assert (expected[1][0][0] < 0).any()
    expected = numpy_text_cnn(inputs.astype("float64"), np.ones_like(mask), layer.get_weights())
    assert_close(layer(inputs), expected, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize(
    ("width", "expected"), [(1, [1, 2, 4]), (2, [3, 6, 4]), (3, [3, 7, 6]), (4, [7, 7, 6]), (9, [7, 7, 7])]
)
def test_which_steps_a_feature_sees(width, expected):
    layer = TextCNN(1, [width], "linear")
    layer.build((None, None, 1))
    layer.set_weights([np.ones((width, 1, 1)), np.zeros(1)])
    # Each sum tells which steps are in it.
    outputs, _ = layer(np.array([[[1.0], [2.0], [4.0]]], "float32"))
    np.testing.assert_array_equal(to_numpy(outputs)[0, :, 0], expected)


def test_gradients_equal_finite_differences(inputs, mask):
    check_gradients(
        make_layer(dtype="float64"),
        {"inputs": inputs.astype("float64")},
        lambda inputs, weights: numpy_text_cnn(inputs, mask, weights),
        mask=mask,
    )


def test_dropout_drops_features_everywhere(inputs):
    layer = make_layer(filters=100, dropout=0.5, seed=1)
    outputs, [[pooled]] = to_numpy(layer(inputs))
    dropped, [[dropped_pooled]] = to_numpy(layer(inputs, training=True))
    kept = dropped[:, :1] != 0
    assert 0.4 < kept.mean() < 0.6
    assert (kept[0] != kept[1]).any()
    assert_close(dropped, 2 * outputs * kept)
    assert_close(dropped_pooled, 2 * pooled * kept[:, 0])


def test_nan_under_the_mask_does_not_show(inputs, mask):
    layer = make_layer()
    junk = np.where(mask[..., None], inputs, np.nan)
    assert_close(layer(junk, mask=mask), layer(inputs, mask=mask), atol=0)


def test_mask_is_passed_on(inputs, mask):
    masked = keras.layers.Masking()(np.where(mask[..., None], inputs, 0))
    outputs, _ = make_layer()(masked)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs._keras_mask), mask)
