"""Speaks the REST and gRPC of TensorFlow Serving for one model, as far as the check of an export asks it.

The real server is on no package index. This one loads the model by the same C++ loader; `--wrong` of its
answers, by REST or gRPC and to a signature, are not the model's.
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

    def answer(signature, inputs, way):
        found = session.run(inputs, signature)
        if options.wrong == f"{way} {signature}":
            name = "score" if signature == "serving_default" else "log_probability"
            found[name] = found[name] + 1
        return found

    class Rest(BaseHTTPRequestHandler):
        def do_GET(self):
            state = {"version": "1", "state": "AVAILABLE", "status": {}}
            self.reply({"model_version_status": [state]})

        def do_POST(self):
            assert self.path == f"/v1/models/{options.model_name}:predict"
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rows = asked["instances"]
            inputs = {name: [row[name] for row in rows] for name in rows[0]}
            found = answer(asked["signature_name"], inputs, "REST")
            rows = zip(*found.values(), strict=True)
            self.reply({"predictions": [dict(zip(found, map(plain, row), strict=True)) for row in rows]})

        def reply(self, content):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802 (the name of the call)
            assert request.model_spec.name == options.model_name
            inputs = {name: tf.make_ndarray(tensor).tolist() for name, tensor in request.inputs.items()}
            found = answer(request.model_spec.signature_name, inputs, "gRPC")
            outputs = {
                name: tf.make_tensor_proto(values.tolist(), tf.string)
                if values.dtype == object
                else tf.make_tensor_proto(values)
                for name, values in found.items()
            }
            return predict_pb2.PredictResponse(outputs=outputs)

    service = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), service)
    service.add_insecure_port(f"127.0.0.1:{options.port}")
    service.start()
    rest = ThreadingHTTPServer(("127.0.0.1", options.rest_api_port), Rest)
    threading.Thread(target=rest.serve_forever).run()


def plain(value):
    return value.decode() if isinstance(value, bytes) else value.item()


if __name__ == "__main__":
    main()
