"""Tests of EndToEndMemoryNetwork against the paper's equations, in loops over sentences and words."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import FLOAT64_ROUNDING, assert_close, check_gradients, check_layer, examples, to_numpy

from layers import EndToEndMemoryNetwork

VOCABULARY, SEPARATOR, UNITS, HOPS, MAX_SENTENCES = 9, 4, 3, 2, 3
# As many sentences as are kept; one more, one of them of one word; a question alone; no question; nothing.
STORIES = np.array(
    [
        [5, 6, 4, 7, 4, 8, 8, 5, 4, 7, 6, 0],
        [7, 6, 4, 6, 4, 5, 5, 4, 6, 7, 4, 8],
        [5, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    "int32",
)


def make_layer(**arguments):
    settings = {
        "vocabulary_size": VOCABULARY,
        "units": UNITS,
        "hops": HOPS,
        "max_sentences": MAX_SENTENCES,
        "separator": SEPARATOR,
        "embeddings_initializer": keras.initializers.RandomNormal(stddev=0.5),
    }
    return EndToEndMemoryNetwork(**settings | arguments)


def sentences_of(tokens):
    """The sentences of one text, each a list of words."""
    found = [[]]
    for token in tokens:
        if token in (0, SEPARATOR):
            found.append([])
        else:
            found[-1].append(token)
    return [words for words in found if words]


def embed(words, table):
    """Sukhbaatar et al. (2015), section 4.1: the position encoding."""
    units = table.shape[1]
    vector = np.zeros(units)
    for j, word in enumerate(words, start=1):
        for k in range(1, units + 1):
            weight = (1 - j / len(words)) - (k / units) * (1 - 2 * j / len(words))
            vector[k - 1] += weight * table[word, k - 1]
    return vector


def answer(tokens, weights, units=UNITS, hops=HOPS, most=MAX_SENTENCES):
    """The outputs of one text's sentences, and its state."""
    embeddings, times = (
        [table[:, k * units : (k + 1) * units] for k in range(hops + 1)] for table in weights[:2]
    )
    *sentences, question = sentences_of(tokens) or [[]]
    sentences = sentences[-most:]
    ages = range(len(sentences) - 1, -1, -1)
    memories = [
        np.array(
            [embed(words, table) + time[age] for words, age in zip(sentences, ages, strict=True)]
        ).reshape(-1, units)
        for table, time in zip(embeddings, times, strict=True)
    ]
    u = embed(question, embeddings[0])
    for hop in range(hops):
        if sentences:
            p = np.exp(memories[hop] @ u)
            u = u + (p / p.sum()) @ memories[hop + 1]
    return memories[-1], u


def answers(stories, weights, **options):
    states = []
    outputs = np.zeros((len(stories), min((stories.shape[1] + 1) // 2, MAX_SENTENCES + 1), UNITS))
    for row, tokens in enumerate(stories):
        memory, state = answer(tokens, weights, **options)
        outputs[row, : len(memory)] = memory
        states.append(state)
    return [outputs, np.array(states)]


class Reader(EndToEndMemoryNetwork):
    """Its call argument has another name: that of `check_gradients` is `inputs`."""

    def call(self, tokens):
        return super().call(tokens)


def test_layer(tmp_path):
    check_layer(
        make_layer,
        {"inputs": STORIES},
        expected_shapes=[(5, MAX_SENTENCES + 1, UNITS), (5, UNITS)],
        # The embeddings A_1 to A_3 and the temporal encodings, each in one table.
        expected_trainable_weights=2,
        expected_non_trainable_weights=1,
        tmp_path=tmp_path,
        invalid_arguments={
            "vocabulary_size": [0, None],
            "units": [0, 2.5],
            "hops": [-1],
            "max_sentences": [0],
            "separator": [-1, VOCABULARY, None],
        },
    )


def test_equals_the_equations_and_its_gradient_finite_differences():
    layer = Reader(**make_layer(dtype="float64").get_config())
    outputs = layer(STORIES)
    assert_close(outputs, answers(STORIES, layer.get_weights()), atol=FLOAT64_ROUNDING)
    check_gradients(layer, {}, lambda weights: answers(STORIES, weights), tokens=STORIES)


def test_embeddings_are_tied():
    layer = make_layer()
    layer(STORIES)
    assert layer.count_params() == (HOPS + 1) * UNITS * (VOCABULARY + MAX_SENTENCES) + 1


def test_the_mask_tells_sentences_from_the_question_and_from_nothing():
    layer = make_layer()
    outputs, _ = to_numpy(layer(STORIES))
    mask = to_numpy(layer.compute_mask(STORIES))
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert (outputs[mask == 0] == 0).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")
def test_padding_and_separators_get_no_gradient():
    import tensorflow as tf

    layer = make_layer()
    with tf.GradientTape() as tape:
        outputs, [[state]] = layer(STORIES)
        loss = tf.reduce_sum(outputs) + tf.reduce_sum(state)
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.embeddings.value)).numpy()
    used = np.abs(gradient).max(axis=1) > 0
    assert used.tolist() == [token not in (0, 1, 2, 3, SEPARATOR) for token in range(VOCABULARY)]
    assert (gradient[[0, SEPARATOR]] == 0).all()


@examples(30)
@given(
    st.lists(
        st.lists(st.sampled_from([SEPARATOR, SEPARATOR, 5, 6, 7, 8]), max_size=13), min_size=1, max_size=4
    )
)
def test_separators_anywhere_and_padding(texts):
    """Leading, doubled and trailing separators bound no sentence; rows do not see each other's length."""
    stories = np.zeros((len(texts), 15), "int32")
    for row, text in zip(stories, texts, strict=True):
        row[: len(text)] = text
    layer = make_layer()
    outputs, [[state]] = layer(stories)
    assert_close([outputs, state], answers(stories, layer.get_weights()))
    counts = [min(max(len(sentences_of(text)) - 1, 0), MAX_SENTENCES) for text in texts]
    np.testing.assert_array_equal(to_numpy(layer.compute_mask(stories)).sum(axis=1), counts)
    for row, text in enumerate(texts):
        alone = layer(np.array([text or [0]], "int32"))
        memory, [[alone_state]] = to_numpy(alone)
        assert_close(to_numpy(state)[row], alone_state[0])
        assert_close(to_numpy(outputs)[row, : counts[row]], memory[0, : counts[row]])


def test_the_mask_parts_sentences_as_padding_does():
    layer = make_layer()
    masked = np.where(STORIES == 0, 7, STORIES)
    assert_close(layer(masked, mask=STORIES != 0), layer(STORIES))
    assert_close(layer.compute_mask(masked, STORIES != 0), layer.compute_mask(STORIES))


def test_words_and_sentences_have_an_order():
    layer = make_layer(max_sentences=9)
    orders = [[5, 6, 4, 7, 8, 4, 5], [6, 5, 4, 7, 8, 4, 5], [7, 8, 4, 5, 6, 4, 5]]
    _, [[states]] = to_numpy(layer(np.array(orders)))
    assert len(np.unique(states.round(4), axis=0)) == 3


def test_without_a_separator_all_is_the_question():
    layer = make_layer(separator=0)
    outputs, [[state]] = to_numpy(layer(STORIES))
    assert (outputs == 0).all()
    assert_close(state[0], embed(STORIES[0, :-1], layer.get_weights()[0][:, :UNITS]))


@pytest.mark.parametrize("build_first", [True, False])
def test_the_separator_can_be_set_later_and_is_saved(build_first, tmp_path):
    layer = make_layer(separator=0)
    if build_first:
        layer.build(STORIES.shape)
    layer.set_separator(SEPARATOR)
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, layer(tokens)[1][0][0])
    expected = answers(STORIES, layer.get_weights())[1]
    assert_close(model(STORIES), expected)
    model.save(tmp_path / "model.keras")
    assert_close(keras.models.load_model(tmp_path / "model.keras")(STORIES), expected)


def test_a_separator_outside_of_the_vocabulary_is_refused():
    message = "argument `separator`, expected an integer below `vocabulary_size`, 9, got 9"
    with pytest.raises(ValueError, match=message):
        make_layer().set_separator(9)
