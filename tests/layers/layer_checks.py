"""Checks that every layer must pass, in the manner of Keras' `run_layer_test`."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

Inputs = dict[str, Any]


@keras.saving.register_keras_serializable(package="rnnpipe_tests")
class LayerModel(keras.Model):
    """A subclassed model around one layer, whose call arguments it takes as a dict."""

    def __init__(self, layer: keras.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs: Inputs, training: bool | None = None) -> Any:
        return self.layer(**inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LayerModel:
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def to_numpy(outputs: Any) -> Any:
    """Converts the tensors of a nested structure to float64, which holds every other float exactly."""
    return keras.tree.map_structure(
        lambda tensor: keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float64")), outputs
    )


def assert_close(actual: Any, expected: Any, atol: float = 1e-6) -> None:
    """Asserts that two nested structures of arrays agree, up to rounding by default."""
    actual, expected = keras.tree.flatten(to_numpy(actual)), keras.tree.flatten(to_numpy(expected))
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def shapes_of(outputs: Any) -> list[tuple[int | None, ...]]:
    """Returns the shapes of the tensors of a nested structure, flattened."""
    return [tuple(tensor.shape) for tensor in keras.tree.flatten(outputs)]


def check_layer(
    make_layer: Callable[..., keras.Layer],
    inputs: Inputs,
    expected_shapes: list[tuple[int, ...]],
    expected_trainable_weights: int,
    tmp_path: Path,
) -> None:
    """Checks shapes, weights, configuration, saving, mixed precision, determinism and training of a layer.

    Args:
        make_layer: Makes a new layer, passing keyword arguments such as `dtype` to its constructor.
        inputs: Call arguments by name, nested structures of NumPy arrays.
        expected_shapes: Shapes of the outputs, flattened.
        expected_trainable_weights: Number of the layer's trainable variables.
        tmp_path: Directory for saved models.
    """
    layer = make_layer()
    outputs = layer(**inputs)
    assert shapes_of(outputs) == expected_shapes
    assert len(layer.trainable_weights) == expected_trainable_weights
    assert_close(layer(**inputs), outputs, atol=0)
    _check_build(layer, make_layer(), inputs)
    _check_config(layer, inputs, outputs)
    _check_functional_model(layer, inputs, outputs, tmp_path / "functional.keras")
    _check_subclassed_model(layer, inputs, outputs, tmp_path / "subclassed.keras")
    _check_mixed_precision(make_layer(dtype="mixed_float16"), inputs, outputs)
    _check_determinism(make_layer, inputs)
    _check_training(make_layer(), inputs)


def _check_build(layer: keras.Layer, unbuilt: keras.Layer, inputs: Inputs) -> None:
    """`build` makes all variables, so that a saved model can be loaded before it is called."""
    names = inspect.signature(unbuilt.build).parameters
    shapes = {f"{name}_shape": value.shape for name, value in inputs.items() if f"{name}_shape" in names}
    unbuilt.build(**shapes)
    assert [v.shape for v in unbuilt.variables] == [v.shape for v in layer.variables]


def _check_config(layer: keras.Layer, inputs: Inputs, outputs: Any) -> None:
    config = layer.get_config()
    original = copy.deepcopy(config)
    json.dumps(config)
    # Twice, because making a layer must not use up the configuration.
    type(layer).from_config(layer.get_config())
    clone = type(layer).from_config(config)
    assert clone.get_config() == original
    clone(**inputs)
    clone.set_weights(layer.get_weights())
    assert_close(clone(**inputs), outputs)


def _symbolic(array: np.ndarray, name: str | None = None) -> keras.KerasTensor:
    """An input of any batch size and length; a mask has no axis of features."""
    free = array.ndim - 1 if array.dtype == bool else array.ndim - 2
    return keras.Input((None,) * free + array.shape[1 + free :], dtype=array.dtype.name, name=name)


def _check_functional_model(layer: keras.Layer, inputs: Inputs, outputs: Any, path: Path) -> None:
    symbols = {
        name: _symbolic(value, name)
        if isinstance(value, np.ndarray)
        else keras.tree.map_structure(_symbolic, value)
        for name, value in inputs.items()
    }
    symbolic_outputs = layer(**symbols)
    for symbolic, actual in zip(shapes_of(symbolic_outputs), shapes_of(outputs), strict=True):
        assert len(symbolic) == len(actual)
        assert all(s in (None, a) for s, a in zip(symbolic, actual, strict=True))
    model = keras.Model(symbols, symbolic_outputs)
    assert_close(model.predict_on_batch(inputs), outputs)
    model.save(path)
    assert_close(keras.models.load_model(path).predict_on_batch(inputs), outputs)


def _check_subclassed_model(layer: keras.Layer, inputs: Inputs, outputs: Any, path: Path) -> None:
    model = LayerModel(layer)
    assert_close(model(inputs), outputs)
    model.save(path)
    assert_close(keras.models.load_model(path)(inputs), outputs)


def _check_mixed_precision(layer: keras.Layer, inputs: Inputs, outputs: Any) -> None:
    half = layer(**inputs)
    assert {keras.backend.standardize_dtype(t.dtype) for t in keras.tree.flatten(half)} == {"float16"}
    assert {w.dtype for w in layer.trainable_weights} == {"float32"}
    assert all(np.isfinite(array).all() for array in keras.tree.flatten(to_numpy(half)))
    assert shapes_of(half) == shapes_of(outputs)


def _check_determinism(make_layer: Callable[..., keras.Layer], inputs: Inputs) -> None:
    """The global seed fixes initial weights and dropout."""
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        runs.append(LayerModel(make_layer())(inputs, training=True))
    assert_close(runs[0], runs[1], atol=0)


def _check_training(layer: keras.Layer, inputs: Inputs) -> None:
    """A training step changes every trainable weight and leaves it finite."""
    model = LayerModel(layer)
    outputs = model(inputs)
    before = [keras.ops.convert_to_numpy(w) for w in layer.trainable_weights]
    targets = keras.tree.map_structure(lambda tensor: np.full(tensor.shape, 3.0, "float32"), outputs)
    losses = keras.tree.map_structure(lambda _: "mse", outputs)
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=losses, jit_compile=False)
    model.train_on_batch(inputs, targets)
    for old, weight in zip(before, layer.trainable_weights, strict=True):
        new = keras.ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        assert (new != old).any(), weight.path
