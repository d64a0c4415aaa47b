"""Warm-up requests: as TF Serving's own messages have them, read back without them."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import prediction_log_pb2

from components.export.warmup import write_warmup
from components.export.warmup_log import WARMUP, read_requests
from components.export.wire import example

TEXTS = ["", "größer", "東京 🙂", "x" * 300]
TARGETS = ["é", "", "🙂", "y"]
SIGNATURES = ["serving_default", "classify", "score"]


@pytest.fixture
def path(tmp_path):
    assert write_warmup(str(tmp_path), SIGNATURES, TEXTS, TARGETS) == 9
    return tmp_path / WARMUP


def logs(path):
    dataset = tf.data.TFRecordDataset(str(path))
    return [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in dataset]


def test_each_signature_is_asked_in_batches(path):
    predict, classify, score = logs(path)[:3], logs(path)[3:6], logs(path)[6:]
    requests = [log.predict_log.request for log in predict]
    assert {request.model_spec.signature_name for request in requests} == {"serving_default"}
    texts = [tf.make_ndarray(request.inputs["text"]).tolist() for request in requests]
    assert [len(batch) for batch in texts] == [1, 8, 32]
    assert texts[1] == [text.encode() for text in TEXTS * 2]
    examples = [log.classify_log.request.input.example_list.examples for log in classify]
    assert [len(batch) for batch in examples] == [1, 8, 32]
    assert examples[1][1].features.feature["text"].bytes_list.value[:] == ["größer".encode()]
    request = score[1].predict_log.request
    assert request.model_spec.signature_name == "score"
    asked = {name: tf.make_ndarray(tensor).tolist() for name, tensor in request.inputs.items()}
    assert asked == {
        "text": [text.encode() for text in TEXTS * 2],
        "target": [target.encode() for target in TARGETS * 2],
    }


def test_they_are_read_without_tensorflow(path):
    found = list(read_requests(path))
    assert [request.signature for request in found] == [name for name in SIGNATURES for _ in range(3)]
    assert [[len(values) for values in request.inputs.values()] for request in found] == [
        *([1], [8], [32]) * 2,
        *([1, 1], [8, 8], [32, 32]),
    ]
    texts, targets = ([text.encode() for text in values * 2] for values in (TEXTS, TARGETS))
    assert found[1].inputs == {"text": texts}
    assert found[4].inputs == {"inputs": [example(text) for text in TEXTS * 2]}
    assert found[7].inputs == {"text": texts, "target": targets}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-3], "it ends within the record at byte"),
        (lambda content: content[:5], "it ends within the record at byte 0"),
        (lambda content: content[:20] + b"?" + content[21:], "the checksum of the record at byte 0 is wrong"),
        (lambda content: b"\x01" + content[1:], "byte 0"),
    ],
)
def test_damage_is_found(path, damage, message):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        list(read_requests(path))


def test_requests_of_another_kind_are_refused(path):
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(prediction_log_pb2.PredictionLog(regress_log={}).SerializeToString())
    with pytest.raises(ValueError, match="neither predict nor classify"):
        list(read_requests(path))


@given(st.binary(max_size=400))
def test_an_example_is_what_tensorflow_reads(value):
    parsed = tf.train.Example.FromString(example(value))
    assert parsed.features.feature["text"].bytes_list.value[:] == [value]
    assert list(parsed.features.feature) == ["text"]
