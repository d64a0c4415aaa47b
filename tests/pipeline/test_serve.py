"""Serving by whatever is there; MLflow's server goes on through pushes."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tensorflow as tf
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import push

from components.errors import UserError
from components.export import tf_serving
from components.export.saved_model import export_saved_model
from components.export.session import SavedModelSession
from pipeline.serving.server import choose_server, serving

BATCH = 50


class Answers(tf.Module):
    """Answers with the version that it is, and the bytes it was asked."""

    def __init__(self, version):
        super().__init__()
        self.version = tf.Variable(version)

    def __call__(self, text):
        answer = tf.strings.join([tf.strings.as_string(self.version), ":", text])
        return {"prediction": answer, "score": tf.cast(tf.strings.length(text), tf.float32)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for version in (1, 2):
        export_saved_model(
            {"serving_default": Answers(float(version))}, [], str(folder / f"m{version}" / "model")
        )
    base = folder / "serving" / "größer"
    push(folder / "m1" / "model", base, "1")
    return base


@pytest.fixture(scope="module")
def server(base):
    """`rnnpipe serve` with MLflow's server; returns its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = base.parents[1] / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "serve", str(base), "--port", str(port), "--with", "mlflow"],
            stdout=file,
            stderr=file,
            cwd=Path(__file__).parents[2],
        )
        deadline = time.monotonic() + 180
        while not answers(f"http://127.0.0.1:{port}/ping"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
        process.terminate()
        assert process.wait(60) == 0
    assert "größer by mlflow: as asked for" in log.read_text()
    assert not answers(f"http://127.0.0.1:{port}/ping")  # all of its processes are gone


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def ask(address, texts):
    body = json.dumps({"dataframe_records": [{"text": text} for text in texts]}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())["predictions"]


# 100,000 characters now and then: most drawn texts are short.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["", "\0", "\r\n\t", "x" * 100_000, "\x7f\x1b[0m", "\u202e\u200d\ufeff", "👩‍👩‍👧‍👦"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, min_size=BATCH, max_size=BATCH))
def test_two_thousand_texts_of_any_kind_over_http(server, texts):
    found = ask(server, texts)
    assert [row["prediction"].partition(":")[2] for row in found] == texts
    assert [row["score"] for row in found] == [float(len(text.encode())) for text in texts]


SURROGATES = st.text(st.characters(), max_size=20).map(lambda text: text.encode(errors="surrogatepass"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=40) | SURROGATES | TEXTS.map(str.encode), min_size=BATCH, max_size=BATCH))
def test_two_thousand_byte_strings_of_any_kind_through_the_c_api(base, texts):
    with SavedModelSession(base / "1") as session:
        found = session.run(texts)
    assert [answer.partition(b":")[2] for answer in found["prediction"]] == texts


def test_a_text_that_is_none_is_refused_and_the_next_is_answered(server):
    """JSON can hold half a surrogate pair, which no encoding has."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, ["good", "\ud800"])
    assert refused.value.code == 400
    assert ask(server, ["good"])[0]["prediction"].endswith(":good")


def test_five_hundred_clients_ask_on_while_a_version_is_pushed(server, base):
    """Each asks until the new version answers; none is refused, and each answer is of one version."""
    clients, deadline = 500, time.monotonic() + 300
    started = threading.Barrier(clients + 1)

    def client(number):
        versions = []
        started.wait(60)
        while 2.0 not in versions:
            assert time.monotonic() < deadline, "the new version does not answer"
            (row,) = ask(server, [f"text {number}"])
            version, _, text = row["prediction"].partition(":")
            assert text == f"text {number}"
            versions.append(float(version))
        return versions

    with ThreadPoolExecutor(clients) as threads:
        asking = [threads.submit(client, number) for number in range(clients)]
        started.wait(60)
        push(base.parents[1] / "m2" / "model", base, "2")
        answered = [each.result() for each in asking]
    assert {version for versions in answered for version in versions} == {1.0, 2.0}
    assert ask(server, ["x"])[0]["prediction"] == "2.000000:x"


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        (
            {"tensorflow_model_server", "docker"},
            None,
            ("binary", "tensorflow_model_server is on the path (it listens on all interfaces)"),
        ),
        ({"docker"}, None, ("docker", "there is no tensorflow_model_server on the path, but docker")),
        (set(), None, ("mlflow", "there is no tensorflow_model_server on the path, and there is no docker")),
        ({"docker"}, "mlflow", ("mlflow", "as asked for")),
    ],
)
def test_the_best_server_that_is_there(monkeypatch, there, wanted, expected):
    monkeypatch.setattr(tf_serving.shutil, "which", lambda name: name if name in there else None)
    monkeypatch.setattr(tf_serving, "succeeds", lambda *command: True)
    assert choose_server(wanted) == expected


def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setattr(tf_serving.shutil, "which", lambda name: name)
    monkeypatch.setattr(tf_serving, "succeeds", lambda *command: False)
    with pytest.raises(
        UserError, match="docker is installed, without a daemon that answers; expected one of binary"
    ):
        choose_server("docker")
    monkeypatch.setattr("pipeline.serving.server.has_binary", lambda: False)
    kind, why = choose_server()
    assert (kind, why.partition(", and ")[2]) == (
        "mlflow",
        "docker is installed, without a daemon that answers",
    )
    monkeypatch.undo()
    monkeypatch.setattr(tf_serving.shutil, "which", lambda name: None)
    with pytest.raises(
        UserError, match="but there is no tensorflow_model_server on the path; expected one of ml"
    ):
        choose_server("binary")


def test_the_commands_of_tf_serving(monkeypatch, tmp_path):
    monkeypatch.setattr(tf_serving.shutil, "which", lambda name: name)
    monkeypatch.setattr(tf_serving, "succeeds", lambda *command: True)
    (tmp_path / "dates" / "1").mkdir(parents=True)
    (tmp_path / "dates" / "1" / "saved_model.pb").touch()
    with serving(tmp_path / "dates", 81, 80, "binary") as ready:
        assert ready.command == [
            "tensorflow_model_server",
            "--model_name=dates",
            f"--model_base_path={tmp_path}/dates",
            "--port=80",
            "--rest_api_port=81",
        ]
        assert ready.address == "http://127.0.0.1:81/v1/models/dates"
    with serving(tmp_path / "dates", 81, 80, "docker") as ready:
        assert ready.command[:8] == [
            "docker",
            "run",
            "--rm",
            "--init",
            "-p",
            "127.0.0.1:80:8500",
            "-p",
            "127.0.0.1:81:8501",
        ]
        assert f"{tmp_path}/dates:/models/dates:ro" in ready.command


def test_nothing_to_serve(tmp_path):
    with pytest.raises(UserError, match="holds no version of a model"), serving(tmp_path):
        pass
    process = tiny.start("serve", tmp_path / "nothing")
    said, _ = process.communicate()
    assert process.returncode == 1
    assert "holds no version of a model; expected the directory that models are pushed to" in said
