"""Requests that TF Serving answers for itself when it loads a model, so that the first user does not wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, model_pb2, predict_pb2, prediction_log_pb2

from components.export.saved_model import CLASSIFY, input_names
from components.export.warmup_log import WARMUP
from components.export.wire import example

BATCHES = (1, 8, 32)


def write_warmup(
    directory: str, signatures: Iterable[str], texts: Sequence[str], targets: Sequence[str]
) -> int:
    """Writes a request of each signature for batches of 1, 8 and 32 texts.

    Args:
        directory: of the SavedModel.
        signatures: the names of those that are asked.
        texts: to ask; at least one. They are repeated where there are too few.
        targets: of each text, what `score` is asked about.

    Returns:
        How many requests there are.
    """
    path = Path(directory) / WARMUP
    path.parent.mkdir(exist_ok=True)
    places = [index % len(texts) for index in range(max(BATCHES))]
    values = {"text": [texts[place].encode() for place in places]}
    values["target"] = [targets[place].encode() for place in places]
    values["inputs"] = [example(text) for text in values["text"]]
    logs = [
        _request(signature, {name: values[name][:size] for name in input_names(signature)})
        for signature in signatures
        for size in BATCHES
    ]
    with tf.io.TFRecordWriter(str(path)) as file:
        for log in logs:
            file.write(log.SerializeToString(deterministic=True))
    return len(logs)


def _request(signature: str, inputs: dict[str, list[bytes]]) -> prediction_log_pb2.PredictionLog:
    model = model_pb2.ModelSpec(signature_name=signature)  # the server knows the model's name
    if signature == CLASSIFY:
        request = classification_pb2.ClassificationRequest(model_spec=model)
        for serialized in inputs["inputs"]:
            request.input.example_list.examples.add().ParseFromString(serialized)
        return prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))
    tensors = {name: tf.make_tensor_proto(values, tf.string) for name, values in inputs.items()}
    asked = predict_pb2.PredictRequest(model_spec=model, inputs=tensors)
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=asked))
