"""Tests of LSTMVariant and its cell against the equations and keras.layers.LSTM."""

import itertools

import keras
import numpy as np
import pytest
from layer_checks import FLOAT64_ROUNDING, assert_close, check_gradients, check_layer, random, to_numpy
from numpy_references import sigmoid

from layers import LSTMVariant, LSTMVariantCell, RecurrentStack

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
GATES = ("input", "forget", "output")
# Every subset of the gates, and coupled ones: NIG, NFG, NOG and CIFG of Greff et al. (2017) among them.
VARIANTS = [{"gates": gates} for count in range(4) for gates in itertools.combinations(GATES, count)]
VARIANTS += [{"coupled": True}, {"gates": ("input", "forget"), "coupled": True}]
needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")


def name_of(variant: dict) -> str:
    return "+".join(variant.get("gates", GATES)) + (" coupled" if variant.get("coupled") else "")


every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=name_of)


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, a shorter one, one with gaps, and a row without any real step."""
    return np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]], bool)


def numpy_step(x, hidden, carry, weights, gates=GATES, coupled=False):
    """Hochreiter and Schmidhuber (1997), Gers et al. (2000); a gate that is removed is 1, for any x."""
    kernel, recurrent_kernel, bias = weights
    sums = x @ kernel + hidden @ recurrent_kernel + bias
    ones = np.ones_like(carry)
    blocks = iter(np.split(sums, len(sums) // len(carry)))
    i = sigmoid(next(blocks)) if "input" in gates else ones
    f = sigmoid(next(blocks)) if "forget" in gates and not coupled else ones
    z = np.tanh(next(blocks))
    o = sigmoid(next(blocks)) if "output" in gates else ones
    assert next(blocks, None) is None
    carry = ((1 - i) if coupled else f) * carry + i * z
    return o * np.tanh(carry), carry


def numpy_layer(sequences, hidden, carry, weights, mask, **variant):
    """All outputs and the final states; at a masked step the output is that of the step before it."""
    outputs = np.zeros((*mask.shape, hidden.shape[1]))
    hidden, carry = hidden.copy(), carry.copy()
    for row, real in enumerate(mask):
        shown = np.zeros(hidden.shape[1])
        for t, is_real in enumerate(real):
            if is_real:
                hidden[row], carry[row] = numpy_step(
                    sequences[row, t], hidden[row], carry[row], weights, **variant
                )
                shown = hidden[row]
            outputs[row, t] = shown
    return outputs, hidden, carry


def make(**options):
    layer = LSTMVariant(
        UNITS, bias_initializer="random_normal", return_sequences=True, return_state=True, **options
    )
    layer.build((None, None, FEATURES))
    return layer


@pytest.mark.parametrize(
    "options",
    [
        {"coupled": True},
        {"gates": ["forget"], "return_sequences": True, "return_state": True, "dropout": 0.2},
        {"gates": ["output", "input"], "recurrent_dropout": 0.3},
    ],
    ids=str,
)
def test_layer(options, inputs, mask, tmp_path):
    sequences = options.get("return_sequences", False)
    check_layer(
        lambda **kwargs: LSTMVariant(**{"units": UNITS, **options, **kwargs}),
        {"sequences": inputs, "mask": mask},
        expected_shapes=[(BATCH, TIME, UNITS)] + [(BATCH, UNITS)] * 2 if sequences else [(BATCH, UNITS)],
        expected_trainable_weights=3,
        tmp_path=tmp_path,
        invalid_arguments={
            "units": [0, -1, 2.5, True, "8"],
            "gates": [["reset"], ["input", "input"], "input", None, [1]],
            "coupled": [True] if "gates" in options else [],
            "dropout": [1.0, -0.1, None],
            "recurrent_dropout": [1.0, -0.1, None],
        },
    )


@every_variant
def test_equals_the_equations(variant, mask):
    layer = make(dtype="float64", **variant)
    states = [random(BATCH, UNITS, seed=1), random(BATCH, UNITS, seed=2)]
    sequences = random(BATCH, TIME, FEATURES)
    expected = numpy_layer(sequences, *states, layer.get_weights(), mask, **variant)
    outputs, *final = to_numpy(layer(sequences, initial_state=states, mask=mask))
    shown = mask.cumsum(axis=1) > 0  # What comes before the first real step depends on Keras' backend.
    assert_close([outputs[shown], *final], [expected[0][shown], *expected[1:]], atol=10 * FLOAT64_ROUNDING)


@every_variant
def test_gradients_equal_finite_differences(variant, mask):
    layer = make(dtype="float64", **variant)

    def reference(sequences, initial_state, weights):
        hidden, carry = initial_state[..., 0], initial_state[..., 1]
        return numpy_layer(sequences, hidden, carry, weights, mask, **variant)

    class Stacked(keras.layers.Layer):
        """The layer with its states as one tensor."""

        def __init__(self):
            super().__init__(dtype="float64")
            self.layer = layer
            self.built = True

        def call(self, sequences, initial_state):
            states = [initial_state[..., 0], initial_state[..., 1]]
            return self.layer(sequences, initial_state=states, mask=mask)

    states = random(BATCH, UNITS, 2, seed=1)
    check_gradients(
        Stacked(), {"sequences": random(BATCH, TIME, FEATURES), "initial_state": states}, reference
    )


@needs_tensorflow
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False, "go_backwards": True},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"unit_forget_bias": False, "unroll": True},
        {"dropout": 0.4, "seed": 1, "use_cudnn": False},
        {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 1},
    ],
    ids=str,
)
def test_with_all_gates_it_equals_keras_layer(options, masked, inputs, mask):
    """Weight by weight, outputs, states and gradients, in training with the same dropout."""
    import tensorflow as tf

    common = {"return_sequences": True, "return_state": True, "zero_output_for_mask": True, **options}
    known = keras.layers.LSTM(UNITS, **common)
    common.pop("use_cudnn", None)
    layer = LSTMVariant(UNITS, **common)
    for each in (known, layer):
        each.build((None, None, FEATURES))
    if layer.cell.use_bias:
        assert_close(layer.get_weights()[2], known.get_weights()[2], atol=0)
    layer.set_weights(known.get_weights())
    results = []
    for each in (known, layer):
        with tf.GradientTape() as tape:
            sequences = tf.constant(inputs)
            tape.watch(sequences)
            outputs = each(sequences, mask=mask if masked else None, training=True)
            loss = sum(tf.reduce_sum(output**2) for output in outputs)
        variables = [sequences, *(weight.value for weight in each.trainable_weights)]
        results.append((outputs, tape.gradient(loss, variables)))
    assert_close(results[1], results[0], atol=2e-5)


def test_coupled_gates_remember_at_first_as_a_forget_gate_does():
    def biases(**options):
        layer = LSTMVariant(2, **options)
        layer.build((None, None, FEATURES))
        return layer.get_weights()[2].tolist()

    assert biases() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert biases(gates=["forget"]) == [1, 1, 0, 0]
    assert biases(gates=["input", "output"]) == [0] * 6
    assert biases(coupled=True) == [-1, -1, 0, 0, 0, 0]
    assert biases(coupled=True, unit_forget_bias=False) == [0] * 6
    assert biases(bias_initializer="ones", gates=["forget"]) == [2, 2, 1, 1]


@every_variant
def test_weights_are_those_of_the_gates(variant):
    layer = make(**variant)
    blocks = 1 + len(variant.get("gates", GATES)) - variant.get("coupled", False)
    shapes = [(FEATURES, blocks * UNITS), (UNITS, blocks * UNITS), (blocks * UNITS,)]
    assert [weights.shape for weights in layer.get_weights()] == shapes


@pytest.mark.parametrize("kind", [LSTMVariant, LSTMVariantCell])
def test_any_argument_of_lstm_can_be_given_and_comes_back(kind):
    options = {
        "gates": ["input", "forget"],
        "coupled": True,
        "activation": "relu",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": True,
        "unit_forget_bias": False,
        "kernel_initializer": "ones",
        "recurrent_initializer": "zeros",
        "kernel_regularizer": "l2",
        "recurrent_regularizer": "l1",
        "bias_regularizer": "l2",
        "kernel_constraint": "unit_norm",
        "recurrent_dropout": 0.25,
        "dropout": 0.5,
        "seed": 3,
    }
    if kind is LSTMVariant:
        options |= {"stateful": True, "go_backwards": True, "return_state": True}
    layer = kind(UNITS, **options)
    clone = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(clone) is kind
    assert clone.get_config() == layer.get_config()
    plain = ("gates", "coupled", "activation", "unit_forget_bias", "dropout", "recurrent_dropout", "seed")
    assert {name: clone.get_config()[name] for name in plain} == {name: options[name] for name in plain}
    clone.build((2, None, FEATURES) if kind is LSTMVariant else (2, FEATURES))
    assert len(clone.losses) == 3


@pytest.mark.parametrize("variant", [{"gates": ("output",)}, {"coupled": True}], ids=name_of)
def test_can_be_stacked_deep_residual_and_in_both_directions(variant, inputs, mask):
    mask = np.arange(TIME) < mask.sum(axis=1, keepdims=True)
    stack = RecurrentStack(LSTMVariant(UNITS, **variant), depth=2, bidirectional=True, residual=True)
    outputs, states = to_numpy(stack(inputs, mask=mask))
    weights = iter(stack.get_weights())
    weights = [[next(weights) for _ in range(3)] for _ in range(4)]
    zeros = np.zeros((1, UNITS))
    for row, length in enumerate(mask.sum(axis=1)):
        read, real = inputs[row, :length].astype("float64"), np.ones((1, length), bool)
        for depth in range(2):
            forward, *last = numpy_layer(read[None], zeros, zeros, weights[2 * depth], real, **variant)
            backward, *first = numpy_layer(
                read[None, ::-1], zeros, zeros, weights[2 * depth + 1], real, **variant
            )
            made = np.concatenate([forward[0], backward[0, ::-1]], axis=-1)
            final = [np.concatenate(pair, axis=-1)[0] for pair in zip(last, first, strict=True)]
            assert_close([state[row] for state in states[depth]], final, atol=1e-5)
            read = made + read if depth else made
        assert_close(outputs[row, :length], read, atol=1e-5)
        assert (outputs[row, length:] == 0).all()


def test_stateful_batches_are_one_long_sequence(inputs):
    layer = LSTMVariant(UNITS, coupled=True, stateful=True, return_sequences=True)
    parts = [to_numpy(layer(inputs[:, :2])), to_numpy(layer(inputs[:, 2:]))]
    layer.reset_state()
    assert_close(np.concatenate(parts, axis=1), layer(inputs))


def test_coupling_needs_both_gates():
    message = (
        r"Received an invalid value for argument `coupled`, expected `False` without an input and a forget "
        r"gate, got True for \['input', 'output'\]\."
    )
    with pytest.raises(ValueError, match=message):
        LSTMVariant(UNITS, gates=["input", "output"], coupled=True)


def test_unknown_gates_are_named():
    message = "`gates`, expected a list of different ones of 'input', 'forget', 'output', got"
    for gates in (["reset"], ["input", "input"]):
        with pytest.raises(ValueError, match=message):
            LSTMVariantCell(UNITS, gates=gates)
