"""Tests of TfIdf against scikit-learn and of TfIdfNetwork against NumPy."""

from collections import Counter

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import assert_close, check_layer, examples, to_numpy
from sklearn.feature_extraction.text import TfidfVectorizer

from layers import TfIdf, TfIdfNetwork

VOCABULARY = 9
# One of every length, tokens that come twice, and a text without tokens.
TOKENS = np.array([[4, 5, 4, 6, 7], [8, 8, 8, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")


def fitted(tokens, **options):
    layer = TfIdf(VOCABULARY, **options)
    layer.set_document_frequencies(layer.document_frequencies(tokens), len(tokens))
    return layer


def terms(row, ngrams):
    """All terms of a row without padding, shorter ones first."""
    row = [token for token in row.tolist() if token]
    return [tuple(row[i : i + n]) for n in range(1, ngrams + 1) for i in range(len(row) - n + 1)]


@examples(20)
@given(st.lists(st.lists(st.integers(1, VOCABULARY - 1), max_size=6), min_size=1, max_size=5))
def test_equals_scikit_learn(texts):
    tokens = np.zeros((len(texts), 6), "int32")
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: map(str, text), vocabulary={str(token): token for token in range(VOCABULARY)}
    )
    expected = vectorizer.fit_transform(texts).toarray()
    assert_close(fitted(tokens)(tokens), expected)


@pytest.mark.parametrize("ngrams", [2, 3])
def test_equals_scikit_learn_with_longer_terms(ngrams):
    """Entries are compared as sorted rows, because the buckets of the longer terms are not known."""
    layer = fitted(TOKENS, ngrams=ngrams, hash_bins=100_003)
    vectorizer = TfidfVectorizer(analyzer=lambda row: terms(row, ngrams))
    expected = vectorizer.fit_transform(list(TOKENS)).toarray()
    actual = to_numpy(layer(TOKENS))
    assert actual.shape == (len(TOKENS), VOCABULARY + 100_003)
    for row, expected_row in zip(actual, expected, strict=True):
        assert_close(np.sort(row[row > 0]), np.sort(expected_row[expected_row > 0]))


def test_counts_are_those_of_a_counter_and_longer_terms_have_few_collisions():
    tokens = np.random.default_rng(0).integers(1, 5000, (64, 40)).astype("int32")
    layer = TfIdf(5000, ngrams=3, hash_bins=1_000_003)
    counts = to_numpy(layer.count(tokens))
    for row, counted in zip(tokens, counts, strict=True):
        singles = Counter(row.tolist())
        assert counted[:5000].tolist() == [singles.get(token, 0) for token in range(5000)]
        assert counted[5000:].sum() == 39 + 38
    distinct = len({term for row in tokens for term in terms(row, 3) if len(term) > 1})
    used = np.count_nonzero(counts[:, 5000:].sum(axis=0))
    # Of n terms in m hash_bins about n**2 / 2m meet another one: 12 of these.
    assert distinct - 40 < used <= distinct


def test_order_of_tokens_tells_longer_terms_apart():
    layer = TfIdf(VOCABULARY, ngrams=2, hash_bins=100_003)
    one, other = to_numpy(layer.count(np.array([[4, 5], [5, 4]])))
    assert_close(one[:VOCABULARY], other[:VOCABULARY], atol=0)
    assert (one != other).any()


def test_a_gap_parts_terms():
    """Tokens at both sides of masked steps do not stand in a row."""
    layer = TfIdf(VOCABULARY, ngrams=2, hash_bins=50)
    counts = to_numpy(layer.count(np.array([[4, 5]]), np.array([[True, False]])))
    assert counts.sum() == 1
    assert to_numpy(layer.count(np.array([[4, 0, 5]])))[0, VOCABULARY:].sum() == 0


def test_frequencies_add_up_over_batches():
    layer = TfIdf(VOCABULARY, ngrams=2, hash_bins=50)
    whole = layer.document_frequencies(TOKENS)
    parts = sum(layer.document_frequencies(row[None]) for row in TOKENS)
    np.testing.assert_array_equal(whole, parts)
    assert whole[8] == 1  # though it comes three times
    assert whole[:VOCABULARY].sum() == 6


def test_rare_terms_weigh_more():
    layer = TfIdf(4)
    layer.set_document_frequencies([0, 10, 1, 5], documents=10)
    (row,) = to_numpy(layer(np.array([[1, 2, 3]])))
    assert row[2] > row[3] > row[1] > 0
    assert row[0] == 0
    np.testing.assert_allclose(np.sum(row**2), 1, rtol=1e-6)


def test_weights_keep_their_precision_in_mixed_precision():
    frequencies = np.arange(VOCABULARY) + 1
    vectors = []
    for dtype in ("float32", "mixed_bfloat16"):
        layer = TfIdf(VOCABULARY, dtype=dtype)
        layer.set_document_frequencies(frequencies, documents=20)
        vectors.append(layer(TOKENS))
    # Rounded once, at the end.
    assert_close(vectors[1], keras.ops.cast(vectors[0], "bfloat16"), atol=0)


@pytest.mark.parametrize("ngrams", [1, 2])
def test_layer(ngrams, tmp_path):
    check_layer(
        lambda **arguments: TfIdf(
            **{"vocabulary_size": VOCABULARY, "ngrams": ngrams, "hash_bins": 7} | arguments
        ),
        {"inputs": TOKENS},
        expected_shapes=[(4, VOCABULARY if ngrams == 1 else VOCABULARY + 7)],
        expected_trainable_weights=0,
        expected_non_trainable_weights=1,
        tmp_path=tmp_path,
        invalid_arguments={"vocabulary_size": [0, 2.5], "ngrams": [0, -1], "hash_bins": [0]},
    )


@pytest.mark.parametrize(
    ("frequencies", "message"),
    [
        (np.ones(3), r"`frequencies`, expected an array of shape \(4,\), got shape \(3,\)"),
        ([1, 2, 3, 11], "expected numbers from 0 to `documents`=10, got 1 to 11"),
        ([-1, 2, 3, 4], "expected numbers from 0 to `documents`=10, got -1 to 4"),
    ],
)
def test_wrong_frequencies_are_refused(frequencies, message):
    with pytest.raises(ValueError, match=message):
        TfIdf(4).set_document_frequencies(frequencies, documents=10)


def test_inputs_of_another_rank_are_refused():
    with pytest.raises(ValueError, match=r"`inputs` must have shape `\(batch, time\)`"):
        TfIdf(4)(np.zeros((2, 3, 4), "int32"))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_network_equals_numpy(depth):
    network = TfIdfNetwork(VOCABULARY, units=5, depth=depth, activation="tanh")
    network.build(TOKENS.shape)
    for layer in network.hidden:
        layer.bias.assign(np.linspace(-1, 1, 5))
    state = to_numpy(network.tfidf(TOKENS))
    for layer in network.hidden:
        kernel, bias = layer.get_weights()
        state = np.tanh(state @ kernel + bias)
    state[-1] = 0  # the text without tokens
    outputs, states = network(TOKENS)
    assert_close((outputs, states), (state[:, None], [[state]]))
    assert to_numpy(network.compute_mask(TOKENS)).tolist() == [[1], [1], [1], [0]]


def test_network_layer(tmp_path):
    settings = {"vocabulary_size": VOCABULARY, "units": 5, "depth": 2, "dropout": 0.2, "activation": "tanh"}
    check_layer(
        lambda **arguments: TfIdfNetwork(**settings | arguments),
        {"inputs": TOKENS},
        expected_shapes=[(4, 1, 5), (4, 5)],
        expected_trainable_weights=4,
        expected_non_trainable_weights=1,
        tmp_path=tmp_path,
        invalid_arguments={"units": [0, 2.5], "depth": [-1], "dropout": [1.0, -0.1]},
    )


def test_network_dropout_acts_in_training_only():
    network = TfIdfNetwork(VOCABULARY, units=64, dropout=0.5, seed=1)
    assert_close(network(TOKENS), network(TOKENS), atol=0)
    dropped = to_numpy(network(TOKENS, training=True)[1][0][0])
    kept = to_numpy(network(TOKENS)[1][0][0])
    assert (dropped[kept > 0] == 0).any()
    assert keras.ops.shape(dropped) == (4, 64)
