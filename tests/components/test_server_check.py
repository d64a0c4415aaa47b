"""A server that speaks as TensorFlow Serving does is started, asked, compared and ended."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf

from components.export import server_check, tf_serving
from components.export.saved_model import export_saved_model
from components.export.server_check import check_server

FAKE = Path(__file__).with_name("fake_model_server.py")
ROOT = Path(__file__).parents[2]
TEXTS = ["a", "größer", "東京 🙂", ""]


def score(text, target):
    """As probable as the target is short; what has three characters is impossible."""
    length = tf.strings.length(target, "UTF8_CHAR")
    return {
        "log_probability": tf.where(length == 3, float("-inf"), -tf.cast(length, tf.float32)),
        "known": length != 3,
    }


def shout(text):
    score = tf.cast(tf.strings.length(text), tf.float32)
    return {"prediction": tf.strings.upper(text, encoding="utf-8"), "score": score}


EXAMPLES = [
    {
        "input": text,
        "target": text * 2,
        "prediction": text.upper(),
        "score": float(len(text.encode())),
        "scored": {"log_probability": -2.0 * len(text)},
    }
    for text in TEXTS
]
EXAMPLES += [
    {
        "input": "?",
        "target": "???",
        "prediction": "what the server does not say",
        "score": None,
        "scored": {"log_probability": None},
    }
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model") / "model"
    export_saved_model({"serving_default": shout, "score": score}, [], str(directory))
    return str(directory)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a tensorflow_model_server on the path that answers wrongly in one way, or not at all."""

    def put(wrong=""):
        script = tmp_path / "bin" / "tensorflow_model_server"
        script.parent.mkdir()
        script.write_text(
            f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\n'
            f'PYTHONPATH="{ROOT}" exec "{sys.executable}" "{FAKE}" "--wrong={wrong}" "$@"\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")

    yield put
    if (tmp_path / "pid").exists():  # whatever came of it, the server is gone
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_server_that_answers_as_evaluated(install, model):
    install()
    assert check_server(model, EXAMPLES) == "passed: 4 evaluated examples by REST and gRPC (binary)"


@pytest.mark.parametrize("way", ["REST", "gRPC"])
def test_a_server_that_answers_otherwise(install, model, way):
    install(f"{way} serving_default")
    assert check_server(model, EXAMPLES) == f"failed: by {way} 'a' is 'A' (score 2), but was 'A' (score 1)"


@pytest.mark.parametrize("way", ["REST", "gRPC"])
def test_a_server_that_scores_otherwise(install, model, way):
    install(f"{way} score")
    assert check_server(model, EXAMPLES) == (
        f"failed: by {way} the target 'aa' of 'a' has the log probability -1, but had -2"
    )


def test_a_server_without_the_signature(install, tmp_path):
    export_saved_model({"serving_default": shout}, [], str(tmp_path / "model"))
    install()
    assert check_server(str(tmp_path / "model"), EXAMPLES).startswith("failed: REST")
    without = [{name: row[name] for name in ("input", "prediction", "score")} for row in EXAMPLES]
    assert check_server(str(tmp_path / "model"), without).startswith("passed: 4 evaluated examples")


def test_a_server_that_does_not_start(install, model):
    install("start")
    found = check_server(model, EXAMPLES)
    assert found.startswith("failed: the server did not make the model available; it said: ")
    assert found.endswith("this server does not want to start")


def test_an_interrupt_leaves_neither_server_nor_files(install, model, tmp_path, monkeypatch):
    install()
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(server_check.tempfile, "tempdir", str(folder))
    found = []
    check = threading.Thread(target=lambda: found.append(check_server(model, EXAMPLES)))
    check.start()
    deadline = time.monotonic() + 60
    while not (any(server_check._running.values()) and (tmp_path / "pid").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server_check.end_servers()
    assert not any(folder.iterdir())
    check.join(60)
    assert found[0].startswith("failed: the server did not make the model available")


def test_without_a_server_it_is_said_why_nothing_was_asked(model, monkeypatch):
    monkeypatch.setattr(server_check, "has_binary", lambda: False)
    monkeypatch.setattr(tf_serving.shutil, "which", lambda name: None)
    found = check_server(model, EXAMPLES)
    assert found == "not run: there is no tensorflow_model_server on the path, and there is no docker"
    monkeypatch.setattr(tf_serving.shutil, "which", lambda name: name)
    monkeypatch.setattr(tf_serving, "succeeds", lambda *command: False)
    found = check_server(model, EXAMPLES)
    assert found.endswith("on the path, and docker is installed, without a daemon that answers")
    monkeypatch.setattr(server_check, "docker_problem", lambda: "")
    monkeypatch.setattr(server_check, "has_image", lambda: False)
    monkeypatch.setenv("TF_SERVING_VERSION", "2.21.0")
    assert "docker pull tensorflow/serving:2.21.0" in check_server(model, EXAMPLES)


def test_docker_is_asked_for_the_image(monkeypatch):
    asked = []
    ended = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(tf_serving.subprocess, "run", lambda command, **_: asked.append(command) or ended)
    monkeypatch.setattr(tf_serving.shutil, "which", lambda name: name)
    assert tf_serving.docker_problem() == ""
    assert tf_serving.has_image()
    assert asked == [("docker", "info"), ("docker", "image", "inspect", "tensorflow/serving:latest")]
