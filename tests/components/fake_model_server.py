"""Speaks the REST and gRPC of TensorFlow Serving for one model, as far as the check of an export asks it.

The real server is on no package index. This one loads the model by the same C++ loader; `--wrong` of its
answers, by REST or gRPC, are not the model's.
"""

import argparse
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.export.session import SavedModelSession


def main():
    parser = argparse.ArgumentParser()
    for option in ("model_name", "model_base_path", "wrong"):
        parser.add_argument(f"--{option}", default="")
    for option in ("port", "rest_api_port"):
        parser.add_argument(f"--{option}", type=int)
    options = parser.parse_args()
    if options.wrong == "start":
        raise SystemExit("this server does not want to start")
    session = SavedModelSession(Path(options.model_base_path) / "1")

    def answer(texts, way):
        found = session.run(texts)
        if options.wrong == way:
            found["score"] = found["score"] + 1
        return found

    class Rest(BaseHTTPRequestHandler):
        def do_GET(self):
            state = {"version": "1", "state": "AVAILABLE", "status": {}}
            self.reply({"model_version_status": [state]})

        def do_POST(self):
            assert self.path == f"/v1/models/{options.model_name}:predict"
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            found = answer(asked, "REST")
            self.reply(
                {
                    "predictions": [
                        {"prediction": prediction.decode(), "score": float(score)}
                        for prediction, score in zip(found["prediction"], found["score"], strict=True)
                    ]
                }
            )

        def reply(self, content):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802 (the name of the call)
            assert request.model_spec.name == options.model_name
            found = answer(tf.make_ndarray(request.inputs["text"]).tolist(), "gRPC")
            outputs = {
                "prediction": tf.make_tensor_proto(found["prediction"].tolist(), tf.string),
                "score": tf.make_tensor_proto(found["score"]),
            }
            return predict_pb2.PredictResponse(outputs=outputs)

    service = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), service)
    service.add_insecure_port(f"127.0.0.1:{options.port}")
    service.start()
    rest = ThreadingHTTPServer(("127.0.0.1", options.rest_api_port), Rest)
    threading.Thread(target=rest.serve_forever).run()


if __name__ == "__main__":
    main()
