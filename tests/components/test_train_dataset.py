"""Batches of tokens: what is in them, and in what order they come."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from made_artifacts import make_tokens
from tiny_training import data, make_pairs, make_texts


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


def order(dataset):
    return [row[row > 0].tolist() for inputs, *_ in dataset.as_numpy_iterator() for row in inputs]


def test_every_example_comes_once_in_batches_of_about_its_length(tokens):
    train = data(tokens)
    boundaries = train.boundaries()
    batches = list(train.batches(boundaries, seed=5, shuffle_buffer=1000).as_numpy_iterator())
    assert len(batches) == train.steps(boundaries)
    seen = sorted(int(np.count_nonzero(row)) for inputs, *_ in batches for row in inputs)
    assert seen == sorted(train.lengths())
    for inputs, *_ in batches:
        buckets = np.digitize(np.count_nonzero(inputs, axis=1), boundaries)
        assert len(set(buckets)) == 1


def test_the_order_depends_on_the_seed_alone(tokens):
    train = data(tokens)
    boundaries = train.boundaries()
    first, again, other = (
        order(train.batches(boundaries, seed=seed, shuffle_buffer=1000)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert sorted(map(tuple, first)) == sorted(map(tuple, other))


@pytest.mark.parametrize("buffer", [7, 1000])
def test_the_order_is_tf_datas_own_of_the_examples_one_by_one(tokens, buffer):
    """So that a training ends the same, however its examples are stored."""
    keras.utils.set_random_seed(3)
    train = data(tokens)
    boundaries = train.boundaries()
    rows = [
        row
        for name in tokens.parts_of("train")
        for columns in tokens.batches(name, ("text", "label"))
        for row in zip(columns["text"].to_pylist(), columns["label"].to_pylist(), strict=True)
    ]
    signature = (tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32))
    expected = (
        tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=signature)
        .shuffle(buffer, seed=5)
        .bucket_by_sequence_length(lambda text, _: tf.size(text), boundaries, [16] * (len(boundaries) + 1))
    )
    batches = train.batches(boundaries, seed=5, shuffle_buffer=buffer)
    for (text, label), (inputs, targets, _) in zip(expected, batches, strict=True):
        np.testing.assert_array_equal(inputs, text)
        np.testing.assert_array_equal(targets, label)


texts = st.lists(st.integers(1, 2**31 - 1), max_size=5)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), min_size=1, max_size=3))
def test_what_is_written_is_read(tmp_path_factory, parts):
    tokens = make_tokens(tmp_path_factory.mktemp("any"), "seq2seq", {"train": parts})
    seen = []
    for inputs, expected, weights in data(tokens, task="seq2seq", buckets=1).batches([]).as_numpy_iterator():
        for source, target, weight in zip(inputs["source"], expected, weights, strict=True):
            length = int(weight.sum())
            assert target[length - 1] == 3
            assert not target[length:].any()
            seen.append((source[source > 0].tolist(), target[: length - 1].tolist()))
    assert seen == [row for part in parts for row in part]


def test_seq2seq_batches_are_shifted_and_weighted(tmp_path):
    tokens = make_tokens(tmp_path, "seq2seq", {"train": [[([4, 5, 6], [7, 8]), ([], [])]]})
    (batch,) = data(tokens, task="seq2seq", buckets=1).batches([]).as_numpy_iterator()
    inputs, targets, weights = batch
    np.testing.assert_array_equal(inputs["source"], [[4, 5, 6], [0, 0, 0]])
    np.testing.assert_array_equal(inputs["previous"], [[2, 7, 8], [2, 0, 0]])
    np.testing.assert_array_equal(targets, [[7, 8, 3], [3, 0, 0]])
    np.testing.assert_array_equal(weights, [[1, 1, 1], [1, 0, 0]])
    assert {array.dtype for array in (*inputs.values(), targets)} == {np.dtype("int32")}
    assert weights.dtype == np.float32


def test_an_unknown_label_has_no_weight(tmp_path):
    tokens = make_tokens(tmp_path, "classification", {"train": [[([4], -1)]]})
    ((_, targets, weights),) = data(tokens).batches([]).as_numpy_iterator()
    assert targets.tolist() == [0]
    assert weights.tolist() == [0]


def test_texts_without_tokens_are_batched_as_one_step(tmp_path):
    """Enough of them that a bucket would begin between no token and one."""
    rows = [(text, 0) for text in [[]] * 20 + [[4]] * 3 + [[4, 5]] * 3]
    train = data(make_tokens(tmp_path, "classification", {"train": [rows]}))
    boundaries = train.boundaries()
    batches = list(train.batches(boundaries, seed=1, shuffle_buffer=50).as_numpy_iterator())
    assert len(batches) == train.steps(boundaries)
    assert sum(len(inputs) for inputs, *_ in batches) == 26
    assert min(inputs.shape[1] for inputs, *_ in batches) == 1


def test_a_split_without_examples_has_no_batches(tmp_path):
    tokens = make_pairs(tmp_path)
    test = data(tokens, "test", task="seq2seq")
    assert len(test.lengths()) == 0
    assert test.boundaries() == []
    assert list(test.batches([])) == []
