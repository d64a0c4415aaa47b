"""Every layer at the edges: no row, one row, one step, and compiled by XLA for batches of two sizes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from edge_cases import EDGE_CASES, EdgeCase
from keras import ops
from layer_checks import Inputs, LayerModel, assert_close, exported, shapes_of, to_numpy

import layers

ROWS, STEPS = 4, 11
# A last batch is often smaller, and as long as its longest row.
SIZES = [(ROWS, STEPS), (ROWS - 1, STEPS + 2)]
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


class Regression(LayerModel):
    """One number for every row from all that a layer returns, so that any layer can be trained."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__(layer)
        self.readout = keras.layers.Dense(1)

    def call(self, inputs: Inputs, training: bool | None = None) -> Any:
        outputs = keras.tree.flatten(super().call(inputs, training=training))
        features = [_mean_of_rows(output) for output in outputs if "float" in str(output.dtype)]
        return self.readout(ops.stack(features, axis=1))


def _mean_of_rows(output: keras.KerasTensor) -> keras.KerasTensor:
    # Scores of hypotheses that do not exist are -inf.
    return ops.mean(ops.maximum(output, -9.0), axis=tuple(range(1, len(output.shape))))


@pytest.fixture(params=EDGE_CASES)
def case(request: pytest.FixtureRequest) -> EdgeCase:
    keras.utils.set_random_seed(3)
    return EDGE_CASES[request.param]


def test_every_layer_has_a_case():
    covered = {type(layer) for case in EDGE_CASES.values() for layer in case.make()._flatten_layers()}
    public = [value for value in vars(layers).values() if inspect.isclass(value)]
    assert {value for value in public if issubclass(value, keras.Layer)} <= covered


def test_rows_and_steps_from_none_and_one_on(case: EdgeCase, tmp_path: Path):
    """Eager, in a graph for any number of rows, and loaded from a SavedModel."""
    layer = case.make()
    full = keras.tree.flatten(to_numpy(layer(**case.inputs(ROWS, STEPS))))
    model = case.model(layer)
    calls = [lambda inputs: layer(**inputs), model.predict_on_batch]
    if ON_TENSORFLOW:
        calls.append(exported(model, tmp_path / "exported"))
    for call in calls:
        assert shapes_of(call(case.inputs(0, STEPS))) == [(0, *output.shape[1:]) for output in full]
        assert {shape[0] for shape in shapes_of(call(case.inputs(0, 1)))} == {0}
        one_row = {name: array[:1] for name, array in case.inputs(ROWS, STEPS).items()}
        assert_close(call(one_row), [output[:1] for output in full])
        one_step = case.inputs(ROWS, 1)
        assert_close(call(one_step), layer(**one_step))


@pytest.mark.slow
def test_xla_compiles_batches_of_two_sizes(case: EdgeCase):
    """Where the layer says that it can be compiled; Keras' default, "auto", trains the others without."""
    supported = all(layer.supports_jit for layer in case.make()._flatten_layers())
    plain, compiled = (_trained(case, jit_compile) for jit_compile in (False, True if supported else "auto"))
    assert compiled.jit_compile is supported
    for one, other in zip(plain.trainable_variables, compiled.trainable_variables, strict=True):
        assert np.isfinite(to_numpy(other)).all()
        assert case.draws or np.allclose(to_numpy(one), to_numpy(other), rtol=0, atol=1e-5), one.path
    compiled.set_weights(plain.get_weights())
    for rows, steps in SIZES:
        inputs = case.inputs(rows, steps)
        assert_close(compiled.predict_on_batch(inputs), plain.predict_on_batch(inputs), atol=1e-5)


def _trained(case: EdgeCase, jit_compile: bool | str) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = Regression(case.make())
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
    for rows, steps in SIZES:
        model.train_on_batch(case.inputs(rows, steps), np.ones((rows, 1)))
    return model
