"""Tests of ClockworkRNNCell's weights, arguments and clock; its steps are tested beside the layer."""

import math

import keras
import numpy as np
import pytest
from layer_checks import assert_close, to_numpy

from layers import ClockworkRNN, ClockworkRNNCell

FEATURES, UNITS = 3, 7


def test_clock_of_periods_without_a_small_common_multiple():
    periods = (251, 509, 1021, 2039, 4093)
    assert math.lcm(*periods) > 2**31
    cell = ClockworkRNNCell(5, periods)
    assert cell.state_size == [5, 4]
    _, (_, clock) = cell(np.zeros((1, 2)), [np.zeros((1, 5)), np.array([[255.0, 255.0, 255.0, 1.0]])])
    np.testing.assert_array_equal(to_numpy(clock), [[0, 0, 0, 2]])


def test_weights_are_those_of_the_paper():
    layer = ClockworkRNN(64, (1, 2, 4, 8, 16, 32, 64, 128))
    layer.build((None, None, FEATURES))
    kernel, *recurrent_kernels, bias = layer.get_weights()
    assert kernel.shape == (FEATURES, 64)
    assert bias.shape == (64,)
    assert [array.shape for array in recurrent_kernels] == [(64 - 8 * i, 8) for i in range(8)]
    assert sum(array.size for array in recurrent_kernels) == 64**2 * (8 + 1) / (2 * 8)
    for array in recurrent_kernels:
        np.testing.assert_allclose(array.T @ array, np.eye(8), atol=1e-5)


def test_rest_of_the_units_goes_to_the_fast_modules():
    assert ClockworkRNNCell(11, (1, 2, 4, 8)).module_units == (3, 3, 3, 2)


def test_modules_are_drawn_apart_from_one_seed():
    def draw():
        initializer = keras.initializers.RandomNormal(seed=1)
        layer = ClockworkRNN(8, (1, 2), recurrent_initializer=initializer)
        layer.build((None, None, FEATURES))
        return layer.get_weights()[1:3]

    first, second = draw()
    assert (first.flatten()[: second.size] != second.flatten()).all()
    assert_close(draw(), [first, second], atol=0)


def test_any_argument_of_simple_rnn_can_be_given_and_comes_back():
    options = {
        "activation": "relu",
        "use_bias": False,
        "kernel_initializer": "ones",
        "recurrent_initializer": "zeros",
        "kernel_regularizer": "l2",
        "recurrent_regularizer": "l1",
        "recurrent_constraint": "unit_norm",
        "recurrent_dropout": 0.25,
        "dropout": 0.5,
        "seed": 3,
        "stateful": True,
        "go_backwards": True,
    }
    layer = ClockworkRNN(UNITS, [1, 5], **options)
    clone = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(clone, ClockworkRNN)
    assert clone.get_config() == layer.get_config()
    assert (clone.units, clone.periods, clone.cell.dropout) == (UNITS, (1, 5), 0.5)
    clone.build((2, None, FEATURES))
    assert len(clone.trainable_weights) == 3
    assert len(clone.losses) == 3
    assert all(weight.constraint for weight in clone.cell.recurrent_kernels)


def test_invalid_units():
    message = (
        "Received an invalid value for argument `units`, expected at least one for each of the 4 periods, "
        r"got 3\."
    )
    with pytest.raises(ValueError, match=message):
        ClockworkRNN(3)
    with pytest.raises(ValueError, match=r"expected a positive integer, got 0\."):
        ClockworkRNNCell(0)


def test_invalid_periods():
    message = (
        r"Received an invalid value for argument `periods`, expected increasing positive integers below "
        r"2\*\*31 such as \(1, 2, 4\), got "
    )
    for periods in [(4, 2), (0, 1), (1, 1), (1.0, 2.0), (1, 2**31), (), 3]:
        with pytest.raises(ValueError, match=message):
            ClockworkRNN(8, periods)
