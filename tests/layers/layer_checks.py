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
import pytest
from hypothesis import settings

Inputs = dict[str, Any]

# How far a layer of dtype float64 may be from NumPy. On JAX, Keras computes it in float32.
FLOAT64_ROUNDING = 1e-13 if keras.backend.backend() == "tensorflow" else 1e-6


@keras.saving.register_keras_serializable(package="rnnpipe_tests")
class LayerModel(keras.Model):
    """A subclassed model around one layer, whose call arguments it takes as a dict."""

    def __init__(self, layer: keras.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs: Inputs, training: bool | None = None) -> Any:
        return self.layer(**inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LayerModel:
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def examples(count: int) -> settings:
    """Has hypothesis draw so many examples; on JAX few, because each new shape is compiled there."""
    is_jax = keras.backend.backend() == "jax"
    return settings(deadline=None, max_examples=max(3, count // 8) if is_jax else count)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Draws a float64 array of standard normal entries."""
    return np.random.default_rng(seed).normal(size=shape)


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


def check_gradients(
    layer: keras.Layer, inputs: Inputs, reference: Callable[..., Any], **constants: Any
) -> None:
    """Compares gradients of a layer with central finite differences of its NumPy reference. Skipped on JAX.

    Args:
        layer: A built layer of dtype float64.
        inputs: Float64 arrays by name of call argument.
        reference: Takes `inputs` by name and the layer's `weights`; returns the layer's outputs.
        **constants: Call arguments of the layer without a gradient, such as its mask.
    """
    if keras.backend.backend() != "tensorflow":
        pytest.skip("uses a GradientTape")
    import tensorflow as tf

    random = np.random.default_rng(0)
    weights = layer.get_weights()
    readouts = [random.normal(size=shape) for shape in shapes_of(layer(**inputs, **constants))]

    def expected_loss() -> float:
        outputs = keras.tree.flatten(reference(**inputs, weights=weights))
        return sum((output * readout).sum() for output, readout in zip(outputs, readouts, strict=True))

    with tf.GradientTape() as tape:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        tape.watch(tensors)
        outputs = keras.tree.flatten(layer(**tensors, **constants))
        loss = sum(tf.reduce_sum(o * readout) for o, readout in zip(outputs, readouts, strict=True))
    np.testing.assert_allclose(loss, expected_loss(), rtol=1e-10)
    sources = [*tensors.values(), *(weight.value for weight in layer.trainable_weights)]
    trained = [array for array, weight in zip(weights, layer.weights, strict=True) if weight.trainable]
    step = 1e-6
    # Gradients of look-ups are sparse.
    gradients = [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, sources)]
    for array, gradient in zip([*inputs.values(), *trained], gradients, strict=True):
        for entry in random.choice(array.size, size=min(array.size, 12), replace=False):
            index = np.unravel_index(entry, array.shape)
            kept = array[index]
            array[index] = kept + step
            upper = expected_loss()
            array[index] = kept - step
            expected = (upper - expected_loss()) / (2 * step)
            array[index] = kept
            np.testing.assert_allclose(gradient[index], expected, rtol=1e-6, atol=1e-7)


def shapes_of(outputs: Any) -> list[tuple[int | None, ...]]:
    """Returns the shapes of the tensors of a nested structure, flattened."""
    return [tuple(tensor.shape) for tensor in keras.tree.flatten(outputs)]


def check_layer(
    make_layer: Callable[..., keras.Layer],
    inputs: Inputs,
    expected_shapes: list[tuple[int, ...]],
    expected_trainable_weights: int,
    tmp_path: Path,
    expected_non_trainable_weights: int = 0,
    masked: str | None = None,
    empty_rows_are_zero: bool = True,
    invalid_arguments: dict[str, list[Any]] | None = None,
) -> None:
    """Checks all that a layer promises by being a layer of this package.

    That is shapes, weights, configuration, functional and subclassed models saved and loaded, SavedModels,
    other batch sizes and lengths, masks, mixed precision, determinism, training and errors.

    Args:
        make_layer: Makes a new layer, passing keyword arguments such as `dtype` to its constructor.
        inputs: Call arguments by name, nested structures of NumPy arrays. Sequences are arrays of rank 3,
            masks boolean arrays of rank 2, named `mask` or `..._mask`.
        expected_shapes: Shapes of the outputs, flattened.
        expected_trainable_weights: Number of the layer's trainable variables.
        tmp_path: Directory for saved models.
        expected_non_trainable_weights: Number of the layer's fixed variables.
        masked: The sequence to which the mask among `inputs`, if any, belongs; by default the first input.
        empty_rows_are_zero: Whether all outputs are 0 for a row whose mask is `False` everywhere.
        invalid_arguments: Values that the constructor must refuse, by argument. `make_layer` must let its
            keyword arguments replace its own.
    """
    layer = make_layer()
    outputs = layer(**inputs)
    assert shapes_of(outputs) == expected_shapes
    assert len(layer.trainable_weights) == expected_trainable_weights
    assert len(layer.non_trainable_weights) == expected_non_trainable_weights
    assert_close(layer(**inputs), outputs, atol=0)
    _check_build(layer, make_layer(), inputs)
    _check_config(layer, inputs, outputs)
    _check_functional_model(layer, inputs, outputs, tmp_path / "functional")
    _check_subclassed_model(layer, inputs, outputs, tmp_path / "subclassed.keras")
    for name in inputs:
        if name.endswith("mask"):
            _check_mask(layer, inputs, name, masked or next(iter(inputs)), empty_rows_are_zero)
    _check_mixed_precision(layer, make_layer(dtype="mixed_float16"), inputs, outputs)
    _check_determinism(make_layer, inputs)
    if expected_trainable_weights:
        _check_training(make_layer(), inputs)
    for argument, values in (invalid_arguments or {}).items():
        for value in values:
            _check_invalid_argument(make_layer, argument, value)


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
    arguments = set(inspect.signature(type(layer).__init__).parameters)
    assert arguments - {"self", "kwargs"} <= set(config)
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


def _resized(inputs: Inputs, batch: int, time: int) -> Inputs:
    """Cuts or repeats rows, and the steps of sequences and masks."""

    def resize(array: np.ndarray) -> np.ndarray:
        array = np.take(array, np.arange(batch), axis=0, mode="wrap")
        if array.ndim == 3 or array.dtype == bool:
            array = np.take(array, np.arange(time), axis=1, mode="wrap")
        return array

    return keras.tree.map_structure(resize, inputs)


def _check_functional_model(layer: keras.Layer, inputs: Inputs, outputs: Any, path: Path) -> None:
    """Saved and loaded as a model and as a SavedModel, for any batch size and length."""
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
    model.save(path.with_suffix(".keras"))
    models = [model.predict_on_batch, keras.models.load_model(path.with_suffix(".keras")).predict_on_batch]
    if keras.backend.backend() == "tensorflow":
        # A signature's outputs are flat.
        models.append(exported(keras.Model(symbols, keras.tree.flatten(symbolic_outputs)), path))
    batch = len(keras.tree.flatten(inputs)[0])
    # As given, one row, one step (of every row, so that there are rows without a real one), and more of both.
    for some in [inputs, _resized(inputs, 1, 5), _resized(inputs, batch, 1), _resized(inputs, batch + 2, 11)]:
        expected = layer(**some)
        assert all(np.isfinite(array).all() for array in keras.tree.flatten(to_numpy(expected)))
        for predict in models:
            assert_close(predict(some), expected)


def exported(model: keras.Model, path: Path) -> Callable[[Inputs], Any]:
    """Exports a model and loads the SavedModel; its outputs are flat."""
    import tensorflow as tf

    model.export(path, verbose=False)
    # Through the model, the only reference to the loaded variables.
    loaded = tf.saved_model.load(path)
    return lambda inputs: loaded.serve(keras.tree.map_structure(tf.constant, inputs))


def _check_subclassed_model(layer: keras.Layer, inputs: Inputs, outputs: Any, path: Path) -> None:
    model = LayerModel(layer)
    assert_close(model(inputs), outputs)
    model.save(path)
    assert_close(keras.models.load_model(path)(inputs), outputs)


def _check_mask(layer: keras.Layer, inputs: Inputs, mask: str, masked: str, empty_is_zero: bool) -> None:
    """Neither what lies under a mask nor the rest of the batch shows, for rows of all lengths down to 0."""
    batch, time = inputs[mask].shape
    assert inputs[masked].shape[:2] == (batch, time)
    assert batch > 2, "expected a full, a shorter and an empty row"
    lengths = np.linspace(time, 0, batch).astype(int)
    real = np.arange(time + 3) < lengths[:, None]
    longer = np.take(inputs[masked], np.arange(time + 3), axis=1, mode="wrap")
    short = {**inputs, masked: longer[:, :time], mask: real[:, :time]}
    outputs = to_numpy(layer(**short))
    junk = np.where(real[..., None], longer, longer[::-1] * 100 + 1)
    _assert_same_prefix(layer(**{**short, masked: junk[:, :time]}), outputs)
    _assert_same_prefix(layer(**{**short, masked: junk, mask: real}), outputs)
    for index, length in enumerate(lengths):
        row = keras.tree.map_structure(lambda array, i=index: array[i : i + 1], short)
        row_outputs = keras.tree.map_structure(lambda array, i=index: array[i : i + 1], outputs)
        steps = max(length, 1)
        alone = to_numpy(layer(**{**row, masked: row[masked][:, :steps], mask: row[mask][:, :steps]}))
        _assert_same_prefix(row_outputs, alone)
        if length > 0:
            _assert_same_prefix(layer(**{**row, masked: row[masked][:, :steps], mask: None}), alone)
        elif empty_is_zero:
            assert all((array == 0).all() for array in keras.tree.flatten(row_outputs))


def _assert_same_prefix(longer: Any, shorter: Any) -> None:
    """Asserts that outputs are those of shorter sequences, as far as these go."""
    for one, other in zip(keras.tree.flatten(to_numpy(longer)), keras.tree.flatten(shorter), strict=True):
        np.testing.assert_allclose(one[tuple(map(slice, other.shape))], other, rtol=0, atol=1e-6)


def _check_mixed_precision(layer: keras.Layer, half: keras.Layer, inputs: Inputs, outputs: Any) -> None:
    """Half precision with the same weights comes near single precision."""
    half(**inputs)
    half.set_weights(layer.get_weights())
    rounded = half(**inputs)
    assert {keras.backend.standardize_dtype(t.dtype) for t in keras.tree.flatten(rounded)} == {"float16"}
    assert {w.dtype for w in half.weights} <= {"float32", "int32"}
    assert shapes_of(rounded) == shapes_of(outputs)
    assert_close(rounded, outputs, atol=0.02)


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


def _check_invalid_argument(make_layer: Callable[..., keras.Layer], argument: str, value: Any) -> None:
    message = f"Received an invalid value for argument `{argument}`, expected .+ got "
    with pytest.raises(ValueError, match=message):
        make_layer(**{argument: value})
