import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.examples import encode_text, encode_tokens, shard_name, split_shards, text_batches


def write(path, serialized):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in serialized:
            writer.write(one)


def test_shards_are_found_by_split_and_in_order(tmp_path):
    for index in (2, 0, 1):
        (tmp_path / shard_name("train", index, 3)).touch()
    (tmp_path / shard_name("test", 0, 1)).touch()
    assert split_shards(str(tmp_path), "train") == [
        f"{tmp_path}/train-0000{index}-of-00003.tfrecord" for index in range(3)
    ]
    assert split_shards(str(tmp_path), "validation") == []


@pytest.mark.parametrize("batch_size", [1, 2, 1024])
def test_texts_come_back_in_order(tmp_path, batch_size):
    rows = [
        {"source": "ein Hund", "target": "a dog"},
        {"source": "日本語", "target": "x\0\n"},
        {"source": "a", "target": "b"},
    ]
    write(tmp_path / "a", map(encode_text, rows[:2]))
    write(tmp_path / "b", map(encode_text, rows[2:]))
    batches = list(text_batches([f"{tmp_path}/a", f"{tmp_path}/b"], ("target", "source"), batch_size))
    assert [len(batch["source"]) for batch in batches] == {1: [1, 1, 1], 2: [2, 1], 1024: [3]}[batch_size]
    for field in ("source", "target"):
        read = np.concatenate([batch[field] for batch in batches])
        assert [text.decode() for text in read] == [row[field] for row in rows]


def test_no_shards_give_no_batches():
    assert list(text_batches([], ("text",))) == []


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text())
def test_encoding_does_not_depend_on_order_or_type(text, label):
    serialized = encode_text({"text": text, "label": label})
    assert serialized == encode_text({"label": label.encode(), "text": text.encode()})
    features = tf.train.Example.FromString(serialized).features.feature
    assert {
        name: [value.decode() for value in feature.bytes_list.value] for name, feature in features.items()
    } == {
        "text": [text],
        "label": [label],
    }


@pytest.mark.parametrize("make", [list, np.array])
def test_token_ids_come_back(make):
    serialized = encode_tokens({"text": make([5, 2**40, 0]), "label": [3]})
    parsed = tf.io.parse_single_example(
        serialized, {"text": tf.io.RaggedFeature(tf.int64), "label": tf.io.FixedLenFeature([], tf.int64)}
    )
    assert parsed["text"].numpy().tolist() == [5, 2**40, 0]
    assert parsed["label"].numpy() == 3


def test_an_example_may_have_no_tokens():
    parsed = tf.io.parse_single_example(encode_tokens({"text": []}), {"text": tf.io.RaggedFeature(tf.int64)})
    assert parsed["text"].shape == [0]
