"""Asks a real TensorFlow Serving what was evaluated, where there is one."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.export.signature_checks import Answer, agree, close
from components.export.tf_serving import (
    BINARY,
    Kind,
    docker_problem,
    has_binary,
    has_image,
    image,
    start_command,
)
from components.processes import owned_process

_NAME = "checked"
_NOT_UP = "the server did not make the model available"
_PATIENCE = 120.0  # seconds until the model must be available


# Of a signature and its inputs, by name, the outputs by name for each row.
Ask = Callable[[str, dict[str, list[str]]], list[dict[str, Any]]]

_running: dict[str, subprocess.Popen[bytes] | None] = {}  # by the folder of what is served
# The server is on this machine: no proxy knows the way.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def end_servers() -> None:
    """Ends what was started and leaves nothing; an interrupted process does not come to it otherwise."""
    for folder, process in list(_running.items()):
        if process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)


def is_up(outcome: str) -> bool:
    """Whether a check that failed did so with a server that had taken the model."""
    return _NOT_UP not in outcome


def check_server(model: str, examples: Sequence[dict[str, Any]]) -> str:
    """Serves a SavedModel, asks it by gRPC and by REST, and compares with what was evaluated.

    Args:
        model: directory of the SavedModel.
        examples: what was evaluated: `input`, `prediction`, `score`; for a model with a signature `score`
            also `target` and `scored`.

    Returns:
        `passed: ...`, `failed: ...` with the reason, or `not run: ...` with why.
    """
    kind: Kind = "binary"
    if not has_binary():
        if problem := docker_problem():
            return f"not run: there is no {BINARY} on the path, and {problem}"
        if not has_image():
            return f"not run: docker has no {image()}; `docker pull {image()}` brings it"
        kind = "docker"
    # An answer without a score is none: JSON and gRPC would not tell it alike.
    asked = [example for example in examples if example["score"] is not None]
    if not asked:
        return "not run: no evaluated example has a score"
    try:
        with _served(kind, Path(model)) as (port, rest_port):
            for way, ask in (("REST", partial(_by_rest, rest_port)), ("gRPC", partial(_by_grpc, port))):
                _check_answers(way, ask, asked)
                _check_targets(way, ask, examples)
    except _ServerError as failure:
        return f"failed: {failure}"
    return f"passed: {len(asked)} evaluated examples by REST and gRPC ({kind})"


def _check_answers(way: str, ask: Ask, examples: Sequence[dict[str, Any]]) -> None:
    rows = ask("serving_default", {"text": [example["input"] for example in examples]})
    if len(rows) != len(examples):
        raise _ServerError(f"by {way} {len(examples)} examples have {len(rows)} answers")
    for example, row in zip(examples, rows, strict=True):
        answer = Answer(_value(way, row, "prediction", _text), _value(way, row, "score", _number))
        expected = Answer(example["prediction"], example["score"])
        if not agree(expected, answer):
            raise _ServerError(f"by {way} {example['input']!r} is {answer}, but was {expected}")


def _check_targets(way: str, ask: Ask, examples: Sequence[dict[str, Any]]) -> None:
    """Asks about the targets, if there is something to compare with."""
    asked = [example for example in examples if example.get("scored", {}).get("log_probability") is not None]
    if not asked:
        return
    columns = {"text": "input", "target": "target"}
    rows = ask("score", {name: [example[key] for example in asked] for name, key in columns.items()})
    if len(rows) != len(asked):
        raise _ServerError(f"by {way} {len(asked)} targets have {len(rows)} log probabilities")
    for example, row in zip(asked, rows, strict=True):
        given = _value(way, row, "log_probability", _number)
        expected = example["scored"]["log_probability"]
        if not close(given, expected):
            raise _ServerError(
                f"by {way} the target {example['target']!r} of {example['input']!r} has the log probability "
                f"{given:g}, but had {expected:g}"
            )


def _value(way: str, row: Any, name: str, read: Callable[[Any], Any]) -> Any:
    try:
        return read(row[name])
    except (LookupError, TypeError, ValueError) as error:
        raise _ServerError(f"by {way} an answer has no {name} that can be read: {row!r}"[:300]) from error


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _number(value: Any) -> float:
    return float(str(value))  # the shortest decimal of a float32


class _ServerError(Exception):
    """The server did not do what it should; the message says what."""


@contextlib.contextmanager
def _served(kind: Kind, model: Path) -> Iterator[tuple[int, int]]:
    """Starts a server; yields its two ports once the model is available, and ends it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        _running[folder] = None
        ending.callback(_running.pop, folder, None)
        base = Path(folder) / _NAME
        shutil.copytree(model, base / "1")
        port, rest_port = _free_port(), _free_port()
        log = ending.enter_context((Path(folder) / "log").open("w+b"))
        command = start_command(kind, base, port, rest_port)
        process = ending.enter_context(owned_process(command, output=log))
        _running[folder] = process
        deadline = time.monotonic() + _PATIENCE
        while not _is_available(rest_port):
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                said = log.read().decode(errors="replace").strip()[-500:] or "nothing"
                raise _ServerError(f"{_NOT_UP}; it said: {said}")
            time.sleep(0.1)
        yield port, rest_port


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _is_available(rest_port: int) -> bool:
    try:
        address = f"http://127.0.0.1:{rest_port}/v1/models/{_NAME}"
        with _opener.open(address, timeout=5) as answer:
            states = json.loads(answer.read())["model_version_status"]
        return any(state["state"] == "AVAILABLE" for state in states)
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return False


def _by_rest(port: int, signature: str, inputs: dict[str, list[str]]) -> list[dict[str, Any]]:
    instances = [dict(zip(inputs, values, strict=True)) for values in zip(*inputs.values(), strict=True)]
    body = json.dumps({"signature_name": signature, "instances": instances}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models/{_NAME}:predict", body)
    try:
        with _opener.open(request, timeout=_PATIENCE) as answer:
            rows: list[dict[str, Any]] = json.loads(answer.read())["predictions"]
        return rows
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:300]
        raise _ServerError(f"REST answers {error.code}: {said}") from error
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise _ServerError(f"REST: {error!r}") from error


def _by_grpc(port: int, signature: str, inputs: dict[str, list[str]]) -> list[dict[str, Any]]:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    tensors = {name: tf.make_tensor_proto(values, tf.string) for name, values in inputs.items()}
    request = predict_pb2.PredictRequest(inputs=tensors)
    request.model_spec.name = _NAME
    request.model_spec.signature_name = signature
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            outputs = service.Predict(request, timeout=_PATIENCE).outputs
        columns = {name: tf.make_ndarray(tensor) for name, tensor in outputs.items()}
    except grpc.RpcError as error:
        raise _ServerError(f"gRPC: {error.details()}") from error
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
