"""Tests of HardAttention against the paper's equations."""

import keras
import numpy as np
import pytest
from layer_checks import assert_close, check_layer, random, to_numpy
from numpy_references import additive_attention

from layers import HardAttention, HardSelection

BATCH, SOURCE, QUERY_WIDTH, MEMORY_WIDTH, UNITS = 3, 5, 4, 6, 7
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")


@pytest.fixture
def memory() -> np.ndarray:
    return random(BATCH, SOURCE, MEMORY_WIDTH).astype("float32")


@pytest.fixture
def query() -> np.ndarray:
    return random(BATCH, QUERY_WIDTH, seed=1).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, a row with a gap and a row without anything to read."""
    return np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)


@pytest.mark.parametrize(
    ("queries", "settings"),
    [((), {"estimator": "straight_through"}), ((2,), {"soft_mixing": 1.0})],
    ids=["straight_through", "reinforce"],
)
def test_layer(queries, settings, memory, mask, tmp_path):
    """Trained through its context alone: by the relaxation, or by soft batches."""
    # Large enough that rounding to half precision changes no choice.
    initializer = keras.initializers.RandomNormal(stddev=1.0, seed=1)
    check_layer(
        lambda **kwargs: HardAttention(
            **{
                "units": UNITS,
                "selection": HardSelection(**settings),
                "kernel_initializer": initializer,
                **kwargs,
            }
        ),
        {
            "query": random(BATCH, *queries, QUERY_WIDTH).astype("float32"),
            "memory": memory,
            "memory_mask": mask,
        },
        expected_shapes=[(BATCH, *queries, MEMORY_WIDTH), (BATCH, *queries, SOURCE)],
        expected_trainable_weights=4,
        expected_non_trainable_weights=1 if settings.get("estimator") else 2,
        tmp_path=tmp_path,
        masked="memory",
        invalid_arguments={"units": [0, True, None], "selection": ["reinforce", {}, 0.5]},
    )


def test_the_selection_comes_back_from_the_configuration():
    selection = HardSelection("straight_through", soft_mixing=0.3, temperature=2.0, seed=5)
    layer = HardAttention(UNITS, selection)
    clone = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert layer.selection is selection
    assert clone.selection is not selection
    assert clone.selection.get_config() == selection.get_config()
    default = HardAttention(UNITS, dtype="float64").selection
    assert default.estimator == "reinforce"
    assert default.dtype_policy.name == "float64"


def test_inference_reads_where_soft_attention_looks_most(query, memory, mask):
    layer = HardAttention(UNITS, bias_initializer="random_normal")
    context, weights = to_numpy(layer(query, memory, memory_mask=mask))
    trained = [weight.numpy() for weight in layer.trainable_weights]
    for row in range(BATCH):
        _, soft = additive_attention(query[row], memory[row], mask[row], trained)
        expected = np.eye(SOURCE)[soft.argmax()] * mask[row].any()
        assert_close((weights[row], context[row]), (expected, expected @ memory[row]))
    assert layer.get_initial_state(memory) == []
    assert layer.attend(query, layer.project_keys(memory), memory, mask)[2] == []


def test_calling_in_training_is_attending_with_states_and_noise(query, memory, mask):
    calling, attending = (
        HardAttention(
            UNITS,
            HardSelection(soft_mixing=0.5, seed=2),
            kernel_initializer=keras.initializers.RandomNormal(seed=1),
        )
        for _ in range(2)
    )
    seen = set()
    attending(query, memory)
    for _ in range(10):
        called = calling(query, memory, memory_mask=mask, training=True)
        states = attending.get_initial_state(memory, training=True)
        noise = attending.draw_noise(BATCH, 1, SOURCE)[:, 0]
        keys = attending.project_keys(memory)
        context, weights, new_states = attending.attend(query, keys, memory, mask, states, noise)
        assert_close((context, weights), called, atol=0)
        soft, log_prob, entropy = to_numpy(new_states)
        assert soft.shape == log_prob.shape == entropy.shape == (BATCH, 1)
        assert_close((soft, np.zeros((2, BATCH, 1))), (states[0], np.stack(to_numpy(states[1:]))), atol=0)
        expected = attending.selection.select(attending.score(query[:, None], keys)[:, 0], mask, soft, noise)
        assert_close((weights, log_prob, entropy), expected)
        seen.add(float(soft[0, 0]))
    assert seen == {0, 1}


def test_every_query_is_answered_as_if_alone(memory, mask):
    layer = HardAttention(UNITS, HardSelection(soft_mixing=0.0))
    queries = random(BATCH, 4, QUERY_WIDTH).astype("float32")
    context, weights = layer(queries, memory, memory_mask=mask)
    keys, noise = layer.project_keys(memory), layer.draw_noise(BATCH, 4, SOURCE)
    states = [np.zeros((BATCH, 4, 1), "float32")] * 3
    sampled = layer.attend(queries, keys, memory, mask, states, noise)
    assert [tuple(state.shape) for state in sampled[2]] == [(BATCH, 4, 1)] * 3
    for index in range(4):
        alone = layer(queries[:, index], memory, memory_mask=mask)
        assert_close((context[:, index], weights[:, index]), alone)
        states_alone = [state[:, index] for state in states]
        alone = layer.attend(queries[:, index], keys, memory, mask, states_alone, noise[:, index])
        assert_close(keras.tree.map_structure(lambda t, i=index: t[:, i], sampled), alone)
    # Each with noise of its own.
    _, weights = layer(np.zeros((BATCH, 50, QUERY_WIDTH), "float32"), memory, training=True)
    assert len(np.unique(to_numpy(weights)[0], axis=0)) > 1


@tensorflow_only
def test_is_traced_for_any_shape(query, memory, mask):
    """Twice in one graph: each call draws anew and counts for the temperature."""
    import tensorflow as tf

    layer = HardAttention(UNITS, HardSelection("straight_through", soft_mixing=0.0))
    layer(query, memory)

    @tf.function(
        input_signature=[tf.TensorSpec((None, QUERY_WIDTH)), tf.TensorSpec((None, None, MEMORY_WIDTH))]
    )
    def reads(query, memory):
        return [layer(query, memory, training=True)[1] for _ in range(2)]

    first, second = reads(np.zeros((30, QUERY_WIDTH)), np.zeros((30, 8, MEMORY_WIDTH)))
    assert first.shape == second.shape == (30, 8)
    assert (first.numpy() != second.numpy()).any()
    assert float(layer.selection.training_calls) == 2


class Reads:
    """One or two reads of a small memory; the second query depends on what was read first.

    The loss is known for every path of choices, so that its expectation is a sum over all paths.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.mask = np.array([True, True, False, True])
        # Query, memory and what leads from a context to the next query; then the layer's weights.
        self.arrays = [random(2, seed=1), 0.7 * random(4, 3, seed=2), 3 * random(3, 2, seed=3)]
        self.arrays += [random(2, 3, seed=4), random(3, 3, seed=5), random(3, seed=6), random(3, 1, seed=7)]

    def expected_loss(self) -> float:
        query, memory, transition, *weights = self.arrays
        total = 0.0
        for position, probability in enumerate(additive_attention(query, memory, self.mask, weights)[1]):
            total += probability * self.loss(memory[position], first=True)
            if self.steps == 2:
                next_query = np.tanh(memory[position] @ transition)
                next_probabilities = additive_attention(next_query, memory, self.mask, weights)[1]
                for next_position, next_probability in enumerate(next_probabilities):
                    joint = probability * next_probability
                    total += joint * self.loss(memory[position] * memory[next_position], first=False)
        return total

    @staticmethod
    def loss(context, first):
        """Of one read, for numbers and tensors."""
        a, b, c = context[..., 0], context[..., 1], context[..., 2]
        return 3 + a * b - 0.5 * c if first else (a + b) * c - c

    def exact_gradients(self) -> list[np.ndarray]:
        """Central finite differences."""
        gradients = []
        for array in self.arrays:
            gradient = np.zeros(array.shape)
            for index in np.ndindex(*array.shape):
                kept, step = array[index], 1e-5
                array[index] = kept + step
                upper = self.expected_loss()
                array[index] = kept - step
                gradient[index] = (upper - self.expected_loss()) / (2 * step)
                array[index] = kept
            gradients.append(gradient)
        return gradients

    def sampled_gradients(self, layer, batches, rows, with_reinforce_loss=True) -> list[np.ndarray]:
        """Gradients of the mean loss, one for each batch of rows that differ in their samples only."""
        import tensorflow as tf

        if not layer.built:
            layer.build((None, 2), (None, None, 3))
        for weight, array in zip(layer.trainable_weights, self.arrays[3:], strict=True):
            weight.assign(array)
        inputs = [tf.constant(array) for array in self.arrays[:3]]
        sources = [*inputs, *(weight.value for weight in layer.trainable_weights)]

        def gradients(noise):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                query, memory, transition = inputs
                query, memory = tf.tile(query[None], (rows, 1)), tf.tile(memory[None], (rows, 1, 1))
                mask = np.tile(self.mask, (rows, 1))
                keys = layer.project_keys(memory)
                states = layer.get_initial_state(memory, training=True)
                context, _, states = layer.attend(query, keys, memory, mask, states, noise[:, 0])
                losses, log_probs, entropies = self.loss(context, first=True), states[1], states[2]
                if self.steps == 2:
                    next_query = tf.tanh(context @ transition)
                    next_context, _, states = layer.attend(
                        next_query, keys, memory, mask, states, noise[:, 1]
                    )
                    losses += self.loss(context * next_context, first=False)
                    log_probs, entropies = log_probs + states[1], entropies + states[2]
                if with_reinforce_loss:
                    counts = tf.fill([rows], tf.constant(self.steps, "float64"))
                    losses += layer.selection.reinforce_loss(losses, log_probs[:, 0], entropies[:, 0], counts)
                loss = tf.reduce_mean(losses)
            return tape.gradient(loss, sources, unconnected_gradients="zero")

        noise = layer.draw_noise(batches * rows, self.steps, len(self.mask))
        noise = tf.reshape(noise, (batches, rows, self.steps, len(self.mask)))
        signature = [tf.TensorSpec(array.shape, "float64") for array in self.arrays]
        run = tf.function(
            lambda noise: tf.map_fn(gradients, noise, parallel_iterations=1, fn_output_signature=signature)
        )
        return [gradient.numpy() for gradient in run(noise)]


def deviations(found: list[np.ndarray], expected: list[np.ndarray]) -> np.ndarray:
    """How far the means are from what is expected, in standard errors; 0 for what is 0 in every batch."""
    parts = []
    for batches, exact in zip(found, expected, strict=True):
        error = batches.std(axis=0) / np.sqrt(len(batches))
        distance = np.abs(batches.mean(axis=0) - exact)
        parts.append(np.where(distance < 1e-9, 0, distance / np.maximum(error, 1e-12)).ravel())
    return np.concatenate(parts)


@tensorflow_only
@pytest.mark.parametrize("steps", [1, 2])
def test_reinforce_has_on_average_the_gradient_of_the_expected_loss(steps):
    reads = Reads(steps)
    expected = reads.exact_gradients()
    spreads = []
    for decay in (0.9, 1.0):
        selection = HardSelection(
            baseline_decay=decay, entropy=0.0, soft_mixing=0.0, seed=steps, dtype="float64"
        )
        layer = HardAttention(3, selection, dtype="float64")
        found = reads.sampled_gradients(layer, batches=200, rows=200)
        assert deviations(found, expected).max() < 5
        spreads.append(np.concatenate([gradient.std(axis=0).ravel() for gradient in found]))
    with_baseline, without = spreads
    assert with_baseline[without > 0].mean() < 0.7 * without[without > 0].mean()
    # The samples themselves have no gradient that would lead there.
    wrong = reads.sampled_gradients(layer, batches=200, rows=200, with_reinforce_loss=False)
    assert deviations(wrong, expected).max() > 20


@tensorflow_only
def test_soft_reads_have_the_gradient_of_soft_attention():
    """With nothing sampled, `reinforce_loss` adds no more than the bonus for entropy."""
    reads = Reads(steps=1)
    layer = HardAttention(3, HardSelection(entropy=0.0, soft_mixing=1.0, dtype="float64"), dtype="float64")
    found = reads.sampled_gradients(layer, batches=2, rows=3)
    query, memory, _, *weights = reads.arrays
    reads.expected_loss = lambda: reads.loss(
        additive_attention(query, memory, reads.mask, weights)[0], first=True
    )
    for gradient, expected in zip(found, reads.exact_gradients(), strict=True):
        np.testing.assert_allclose(gradient, [expected] * 2, atol=1e-7)
