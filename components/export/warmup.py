"""Requests that TF Serving answers for itself when it loads a model, so that the first user does not wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, model_pb2, predict_pb2, prediction_log_pb2

from components.export.saved_model import CLASSIFY
from components.export.session import example
from components.export.warmup_log import WARMUP

BATCHES = (1, 8, 32)


def write_warmup(directory: str, signatures: Iterable[str], texts: Sequence[str]) -> int:
    """Writes a request of each signature for batches of 1, 8 and 32 texts.

    Args:
        directory: of the SavedModel.
        signatures: the names of those that are asked.
        texts: to ask; at least one. They are repeated where there are too few.

    Returns:
        How many requests there are.
    """
    path = Path(directory) / WARMUP
    path.parent.mkdir(exist_ok=True)
    repeated = [texts[index % len(texts)].encode() for index in range(max(BATCHES))]
    logs = [_request(signature, repeated[:size]) for signature in signatures for size in BATCHES]
    with tf.io.TFRecordWriter(str(path)) as file:
        for log in logs:
            file.write(log.SerializeToString(deterministic=True))
    return len(logs)


def _request(signature: str, texts: Sequence[bytes]) -> prediction_log_pb2.PredictionLog:
    model = model_pb2.ModelSpec(signature_name=signature)  # the server knows the model's name
    if signature == CLASSIFY:
        request = classification_pb2.ClassificationRequest(model_spec=model)
        for text in texts:
            request.input.example_list.examples.add().ParseFromString(example(text))
        return prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))
    inputs: Mapping[str, tf.TensorProto] = {"text": tf.make_tensor_proto(list(texts), tf.string)}
    asked = predict_pb2.PredictRequest(model_spec=model, inputs=inputs)
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=asked))
