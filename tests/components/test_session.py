import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluate.saved_model import SavedModelAnswers
from components.export import c_api
from components.export import session as session_module
from components.export.saved_model import export_saved_model, structure_problems
from components.export.session import SavedModelError, SavedModelSession, TensorInfo


def every_type(text):
    length = tf.strings.length(text)
    return {
        "same": text,
        "pair": tf.stack([text, tf.strings.join([text, "!"])], axis=1),
        "none": tf.zeros([0, 2], tf.string),
        "constant": tf.constant("a string too long to be kept inside its 24 bytes"),
        "third": tf.cast(length, tf.float32)[:, None, None] / 4,
        **{name: tf.cast(length, name) for name in ("float64", "float16", "int32", "int64", "uint8", "bool")},
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("session") / "model"
    export_saved_model({"serving_default": every_type}, [], str(path))
    return path


@pytest.fixture(scope="module")
def served(directory):
    with SavedModelSession(directory) as session:
        yield session


@pytest.fixture(scope="module")
def reloaded(directory):
    return tf.saved_model.load(str(directory)).signatures["serving_default"]


def test_the_signature_is_read(served):
    signature = served.signature()
    assert signature.inputs == {"text": TensorInfo("serving_default_text:0", "string")}
    types = {name: info.dtype for name, info in signature.outputs.items()}
    assert types.pop("third") == "float32"
    assert {types.pop(name) for name in ("same", "pair", "none", "constant")} == {"string"}
    assert all(name == dtype for name, dtype in types.items())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_answers_as_python_does(served, reloaded, texts):
    answer = reloaded(text=tf.constant(texts, tf.string))
    expected = {name: np.asarray(value.numpy()) for name, value in answer.items()}
    found = served.run(texts)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert found[name].tolist() == value.tolist()
        assert found[name].dtype == value.dtype or value.dtype.kind == "S"


@pytest.mark.parametrize("length", [0, 1, 21, 22, 23, 24, 10_000, 1 << 20])
def test_strings_of_every_length_come_back(served, length):
    text = ("ab\0" * length)[:length]
    answer = served.run([text, "other", text.encode()])
    assert list(answer["same"]) == [text.encode(), b"other", text.encode()]
    assert answer["pair"][2, 1] == text.encode() + b"!"


def test_each_signature_answers_as_itself(tmp_path):
    signatures = {
        "serving_default": lambda text: {"length": tf.strings.length(text)},
        "shout": lambda text: {"text": tf.strings.upper(text)},
    }
    export_saved_model(signatures, [], str(tmp_path / "model"))
    with SavedModelSession(tmp_path / "model") as session:
        assert session.signatures == ["serving_default", "shout"]
        assert session.run(["abc"])["length"].tolist() == [3]
        assert session.run(["abc"], "shout")["text"].tolist() == [b"ABC"]
        assert session.signature("shout").outputs["text"].dtype == "string"


def test_answers_outlive_the_session(directory):
    with SavedModelSession(directory) as session:
        answer = session.run(["x" * 100])
    assert answer["pair"].tolist() == [[b"x" * 100, b"x" * 100 + b"!"]]
    assert answer["third"].tolist() == [[[25.0]]]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_is_given_back(directory):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

    text = b"x" * (1 << 20)
    with SavedModelSession(directory) as session:
        for _ in range(3):
            session.run([text] * 10)
        before = resident()
        for _ in range(30):
            session.run([text] * 10)
        assert resident() - before < 150, "MiB, after 30 calls with 10 MiB in and 30 MiB out"


@pytest.mark.parametrize("name", ["[v1]", "[ ]/[!a]", "x*y?", "a\\b", "a%2Fb"])
def test_a_folder_may_be_called_like_a_pattern(tmp_path, name):
    weight = tf.Variable([2.0, 3.0])

    def first(text):
        return {"score": tf.fill(tf.shape(text), weight[0])}

    model = tmp_path / name / "model"
    variables = export_saved_model({"serving_default": first}, [], str(model))
    assert structure_problems(str(model), variables) == []
    with SavedModelSession(model) as session:
        assert session.run(["a"])["score"].tolist() == [2.0]
    assert SavedModelAnswers(str(model))(tf.constant(["a"]))["score"].numpy().tolist() == [2.0]


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(SavedModelError, match=r"Could not find SavedModel .*nothing here"):
        SavedModelSession(tmp_path / "nothing here")


def test_what_tensorflow_says_is_raised(tmp_path):
    def refuse(text):
        with tf.control_dependencies([tf.debugging.assert_none_equal(text, "bad", message="no bad words")]):
            return {"text": tf.identity(text)}

    export_saved_model({"serving_default": refuse}, [], str(tmp_path / "model"))
    with SavedModelSession(tmp_path / "model") as session:
        with pytest.raises(SavedModelError, match="no bad words"):
            session.run(["good", "bad"])
        assert session.run(["good"])["text"].tolist() == [b"good"]


def test_a_cut_variables_file_is_not_served(tmp_path):
    weights = tf.Variable(tf.range(1000.0))
    total = {"serving_default": lambda text: {"sum": tf.reduce_sum(weights) + 0.0}}
    export_saved_model(total, [], str(tmp_path / "model"))
    (data,) = (tmp_path / "model" / "variables").glob("*.data-*")
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(SavedModelError):
        SavedModelSession(tmp_path / "model")


def test_signatures_that_cannot_be_asked_with_texts(tmp_path, served):
    with pytest.raises(SavedModelError, match=r"no signature 'serve'; the model has \['serving_default'\]"):
        served.run(["a"], "serve")
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.int64, name="number")
    module.double = tf.function(lambda number: {"double": 2 * number}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.double)
    session = SavedModelSession(tmp_path / "m")
    with pytest.raises(SavedModelError, match=r"takes \{'number': 'int64'\}; expected one string input"):
        session.run(["1"])
    with pytest.raises(
        SavedModelError, match=r"takes \{'number': 'int64'\}; received texts for \['number'\]"
    ):
        session.run({"number": ["1"]})


def test_a_signature_with_several_inputs_takes_them_by_name(tmp_path):
    def join(text, target):
        return {"joined": tf.strings.join([text, target], "+"), "first": text}

    signatures = {"serving_default": lambda text: {"same": text}, "score": join}
    export_saved_model(signatures, [], str(tmp_path / "model"))
    with SavedModelSession(tmp_path / "model") as session:
        inputs = session.signature("score").inputs
        assert {name: info.dtype for name, info in inputs.items()} == {"text": "string", "target": "string"}
        for _ in range(3):  # whatever their order
            found = session.run({"target": ["ä", b""], "text": ["東京", "x" * 30]}, "score")
            assert found["joined"].tolist() == ["東京+ä".encode(), b"x" * 30 + b"+"]
            assert found["first"].tolist() == ["東京".encode(), b"x" * 30]
        assert session.run({"text": ["a"]})["same"].tolist() == [b"a"]
        for inputs, message in (
            (["a"], r"takes \{.*'target': 'string'.*\}; expected one string input"),
            ({"text": ["a"]}, r"takes \{.*\}; received texts for \['text'\]"),
            (
                {"text": ["a"], "target": ["b"], "more": []},
                r"received texts for \['more', 'target', 'text'\]",
            ),
            ({"text": ["a", "b"], "target": ["c", "d", "e"]}, "shape"),
        ):
            with pytest.raises(SavedModelError, match=message):
                session.run(inputs, "score")


def test_a_closed_session_says_so(directory):
    session = SavedModelSession(directory)
    session.close()
    session.close()
    with pytest.raises(SavedModelError, match="the session is closed"):
        session.run(["a"])


def test_without_tensorflow_the_message_says_what_to_install(directory, monkeypatch):
    monkeypatch.setattr(c_api, "_package", lambda name: None)
    c_api.tensorflow.cache_clear()
    with pytest.raises(SavedModelError, match="pip install tensorflow"):
        SavedModelSession(directory)


ALONE = """
import importlib, importlib.util, os, sys
folder = os.path.dirname(sys.argv[1])
spec = importlib.util.spec_from_file_location(
    "alone", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
)
sys.modules["alone"] = importlib.util.module_from_spec(spec)
session = importlib.import_module("alone.session")
print(session.SavedModelSession(sys.argv[2]).run(["Ä", "🙂" * 9])["same"].tolist())
tops = {name.partition(".")[0] for name in sys.modules}
print(sorted(tops & {"tensorflow", "tensorflow_text", "keras", "components", "layers", "pipeline"}))
os.write(2, b"a real error\\n")
"""


def test_alone_moved_and_quiet(directory, tmp_path):
    moved = tmp_path / "a place" / "größer 東京"
    shutil.copytree(directory, moved)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_CPP")}
    ran = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, session_module.__file__, str(moved)],
        capture_output=True,
        env=environment,
        check=True,
        encoding="utf-8",
    )
    assert ran.stdout.splitlines() == [str(["Ä".encode(), "🙂".encode() * 9]), "[]"]
    assert ran.stderr == "a real error\n"
