"""Tests of how EchoStateRNNCell draws its weights."""

import keras
import numpy as np
import pytest
from layer_checks import assert_close

from layers import EchoStateRNN, EchoStateRNNCell
from layers.rnn import echo_state_rnn_cell

FEATURES, UNITS = 3, 5


def built(layer: keras.Layer, features: int | None = FEATURES) -> keras.Layer:
    layer.build((None, None, features))
    return layer


@pytest.mark.parametrize(
    ("units", "connectivity"),
    [(1, None), (1, 0.01), (2, None), (2, 0.1), (3, 0.4), (50, 0.001), (50, 1.0), (220, None), (220, 0.001)],
)
@pytest.mark.parametrize("spectral_radius", [0.5, 1.25])
def test_spectral_radius(units, connectivity, spectral_radius):
    for seed in range(3):
        cell = EchoStateRNNCell(units, spectral_radius, connectivity=connectivity, seed=seed)
        recurrent_kernel = built(cell).get_weights()[1]
        largest = np.abs(np.linalg.eigvals(recurrent_kernel.astype("float64"))).max()
        # Rounding the kernel to float32 moves eigenvalues of a long cycle, which are roots, by more.
        np.testing.assert_allclose(largest, spectral_radius, rtol=1e-5)


def test_spectral_radius_without_convergence(monkeypatch):
    def fail(*_, **__):
        raise echo_state_rnn_cell.ArpackError(-1)

    expected = built(EchoStateRNNCell(220, seed=1)).get_weights()
    monkeypatch.setattr(echo_state_rnn_cell, "eigs", fail)
    assert_close(built(EchoStateRNNCell(220, seed=1)).get_weights(), expected)


@pytest.mark.parametrize(
    ("units", "connectivity", "degree"),
    [(7, None, 7), (400, None, 10), (400, 0.5, 200), (400, 1.0, 400), (400, 0.0001, 1)],
)
def test_every_unit_reads_equally_many(units, connectivity, degree):
    recurrent_kernel = built(EchoStateRNNCell(units, connectivity=connectivity)).get_weights()[1]
    np.testing.assert_array_equal((recurrent_kernel != 0).sum(axis=0), degree)
    if degree < units:
        assert len({tuple(np.flatnonzero(column)) for column in recurrent_kernel.T}) > units / 3


def test_weights_are_uniform_up_to_their_scaling():
    cell = EchoStateRNNCell(400, input_scaling=0.3, bias_scaling=2.0, seed=1)
    kernel, recurrent_kernel, bias = built(cell, features=50).get_weights()
    values = recurrent_kernel[recurrent_kernel != 0]
    for weights, scaling in [(kernel, 0.3), (bias, 2.0), (values, np.abs(values).max())]:
        quantiles = np.quantile(weights / scaling, [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(quantiles, [-1, -0.5, 0, 0.5, 1], atol=0.15)
        assert np.abs(weights).max() <= np.float32(scaling)
    assert (built(EchoStateRNNCell(9)).get_weights()[2] == 0).all()


def test_seed_fixes_the_weights():
    def weights(**options):
        return built(EchoStateRNN(UNITS, bias_scaling=1.0, **options)).get_weights()

    assert_close(weights(seed=1), weights(seed=1), atol=0)
    for one, other in zip(weights(seed=1), weights(seed=2), strict=True):
        assert (one != other).all()
    for one, other in zip(weights(), weights(), strict=True):
        assert (one != other).all()
    # The reservoir does not depend on what it reads.
    assert_close(built(EchoStateRNN(UNITS, seed=1), features=7).get_weights()[1], weights(seed=1)[1], atol=0)


def test_global_seed_fixes_the_weights():
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        runs.append(built(EchoStateRNN(UNITS)).get_weights())
    assert_close(runs[0], runs[1], atol=0)


def test_cell_config():
    options = {
        "units": 7,
        "spectral_radius": 1.1,
        "leak_rate": 0.5,
        "input_scaling": 0.4,
        "bias_scaling": 0.3,
        "connectivity": 0.2,
        "activation": "relu",
        "seed": 4,
    }
    for make in (EchoStateRNNCell, EchoStateRNN):
        clone = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(make(**options)))
        assert type(clone) is make
        assert options.items() <= clone.get_config().items()
        assert_close(built(clone).get_weights(), built(make(**options)).get_weights(), atol=0)


def test_unknown_number_of_features():
    message = "invalid value for argument `sequence_shape`, expected a known number of features, got"
    with pytest.raises(ValueError, match=message):
        built(EchoStateRNNCell(UNITS), features=None)
