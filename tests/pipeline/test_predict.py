import json
import os
import shutil
import subprocess
import sys
import threading
from io import BufferedReader, BytesIO
from pathlib import Path

import pytest
import tensorflow as tf
from made_models import push

from components.errors import UserError
from components.export.saved_model import export_saved_model
from components.export.session import SavedModelSession
from pipeline.serving import predict as predict_module
from pipeline.serving.predict import find_model, predict


def reverse(text):
    tf.debugging.assert_none_equal(text, "unspeakable", message="cannot say this")
    characters = tf.strings.unicode_split(text, "UTF-8")
    length = tf.cast(tf.strings.length(text, "UTF8_CHAR"), tf.float32)
    return {
        "prediction": tf.strings.reduce_join(tf.reverse(characters.to_tensor(), [1]), axis=1),
        "score": tf.where(text == "endless", float("inf"), length / 10),
    }


def n_best(text):
    """As many answers as the text has characters, of three."""
    length = tf.strings.length(text, "UTF8_CHAR")[:, None]
    found = tf.range(3)[None] < length
    return {
        "predictions": tf.where(found, tf.repeat(text[:, None], 3, axis=1), ""),
        "scores": tf.where(found, -tf.range(3.0) / 10, float("-inf")),
        "finished": found & (tf.range(3) < 1),
    }


def explain(text):
    source = tf.strings.unicode_split(text, "UTF-8").to_tensor()
    target = tf.strings.upper(source[:, :2])
    weights = tf.where((target != "")[:, :, None] & (source != "")[:, None], 0.1, 0.0)
    return {**reverse(text), "source_tokens": source, "target_tokens": target, "attention": weights}


def classify(inputs):
    """Whether a text has more than two characters."""
    parsed = tf.io.parse_example(inputs, {"text": tf.io.FixedLenFeature([], tf.string)})
    long = tf.cast(tf.strings.length(parsed["text"], "UTF8_CHAR") > 2, tf.float32)
    long = tf.where(parsed["text"] == "neither", float("nan"), long)
    classes = tf.repeat(tf.constant([["short", "länger"]]), tf.shape(long)[0], axis=0)
    return {"classes": classes, "scores": tf.stack([1 - long, long], axis=1)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("predict") / "größer 東京" / "model"
    signatures = {"serving_default": reverse, "classify": classify, "n_best": n_best, "explain": explain}
    export_saved_model(signatures, [], str(directory))
    return str(directory)


@pytest.fixture
def batches(monkeypatch):
    """Sizes of the batches that the model is asked."""
    sizes, run = [], SavedModelSession.run
    monkeypatch.setattr(
        SavedModelSession,
        "run",
        lambda self, texts, *rest: (sizes.append(len(texts)), run(self, texts, *rest))[1],
    )
    return sizes


def answers(*arguments):
    return [json.loads(line) for line in predict(*arguments)]


def test_every_line_has_its_answer_in_order(model, batches):
    lines = [f"line {number} 🙂".encode() for number in range(150)]
    found = answers(model, BytesIO(b"\n".join([*lines, b""])), 64)
    assert [row["input"] for row in found] == [line.decode() for line in lines]
    assert [row["prediction"] for row in found] == [line.decode()[::-1] for line in lines]
    assert found[7] == {"input": "line 7 🙂", "prediction": "🙂 7 enil", "score": 0.8}
    assert batches == [64, 64, 22]
    assert answers(model, lines, 64) == found
    assert batches == [64, 64, 22] * 2


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"\na", ["", "a"]),
        (b"a", ["a"]),
        (b"a\n\nb\r\n", ["a", "", "b"]),
        (b"\xef\xbb\xbfa\r\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"\xef\xbb\xbf\na", ["", "a"]),
        (b"a\rb\xc2\x85c\xe2\x80\xa8d \n", ["a\rb\x85c\u2028d "]),
        (b"x" * 200_000 + b"\ny", ["x" * 200_000, "y"]),
    ],
)
def test_lines_end_where_the_newline_is(model, text, lines):
    assert [row["input"] for row in answers(model, BytesIO(text))] == lines
    assert [
        row["input"] for row in answers(model, text.splitlines(keepends=True))
    ] == lines or b"\xc2" in text


def test_lines_are_printed_as_they_are(model):
    (line,) = predict(model, [b"Gr\xc3\xbc\xc3\x9fe \xf0\x9f\x99\x82"])
    assert line == '{"input": "Grüße 🙂", "prediction": "🙂 eßürG", "score": 0.7}'


def test_a_line_that_is_not_utf8_is_reported_and_the_rest_answered(model, batches):
    found = answers(model, [b"good", b"caf\xe9 cr\xe8me", b"also good"])
    assert [row.get("prediction") for row in found] == ["doog", None, "doog osla"]
    assert found[1] == {
        "input": "caf\\xe9 cr\\xe8me",
        "error": "not UTF-8: invalid continuation byte at byte 4",
    }
    assert batches == [2]
    lines = predict(model, [b"\xff", b"\xfe"])
    assert json.loads(next(lines)) == {"input": "\\xff", "error": "not UTF-8: invalid start byte at byte 1"}
    next(lines)
    with pytest.raises(UserError, match=r"answered none of 2 lines; not UTF-8: invalid start byte"):
        next(lines)


def test_an_empty_line_is_reported_and_the_rest_answered(model):
    """As an empty cell of a table."""
    found = answers(model, [b"good", b"", b" \t", b"also good"])
    assert [row.get("prediction") for row in found] == ["doog", None, None, "doog osla"]
    assert found[1:3] == [{"input": text, "error": "empty text"} for text in ("", " \t")]


def test_a_line_that_the_model_cannot_answer_is_reported_and_the_rest_answered(model):
    first, bad, last = answers(model, [b"good", b"unspeakable", b"also good"])
    assert (first["prediction"], last["prediction"]) == ("doog", "doog osla")
    assert set(bad) == {"input", "error"}
    assert bad["error"].startswith("no answer: ")
    assert "cannot say this" in bad["error"]


def test_a_model_that_answers_nothing_is_an_error_in_the_end(model):
    lines = predict(model, [b"unspeakable", b"\xff", b"unspeakable"])
    assert ["error" in json.loads(next(lines)) for _ in range(3)] == [True] * 3
    with pytest.raises(UserError, match=r"answered none of 3 lines; no answer: .*cannot say this"):
        next(lines)


def test_a_score_that_is_not_finite_is_null(model):
    assert answers(model, [b"endless"]) == [{"input": "endless", "prediction": "sseldne", "score": None}]


def test_several_answers_end_with_the_last_one_found(model):
    assert answers(model, [b"abcd", b"\xff", "é".encode()], 64, "n_best") == [
        {
            "input": "abcd",
            "predictions": ["abcd"] * 3,
            "scores": [0.0, -0.1, -0.2],
            "finished": [True, False, False],
        },
        {"input": "\\xff", "error": "not UTF-8: invalid start byte at byte 1"},
        {"input": "é", "predictions": ["é"], "scores": [0.0], "finished": [True]},
    ]


def test_every_class_has_its_score(model):
    found = answers(model, ["é".encode(), b"\xff", b"abc", b"neither"], 64, "classify")
    assert found[3] == {"input": "neither", "classes": ["short", "länger"], "scores": [None, None]}
    assert found[:3] == [
        {"input": "é", "classes": ["short", "länger"], "scores": [1.0, 0.0]},
        {"input": "\\xff", "error": "not UTF-8: invalid start byte at byte 1"},
        {"input": "abc", "classes": ["short", "länger"], "scores": [0.0, 1.0]},
    ]


def test_an_explanation_ends_with_the_last_tokens(model):
    long, short = answers(model, [b"abc", "é".encode()], 64, "explain")
    assert long["source_tokens"] == ["a", "b", "c"]
    assert long["target_tokens"] == ["A", "B"]
    assert long["attention"] == [[0.1, 0.1, 0.1]] * 2
    assert short == {
        "input": "é",
        "prediction": "é",
        "score": 0.1,
        "source_tokens": ["é"],
        "target_tokens": ["é"],
        "attention": [[0.1]],
    }


def test_a_slow_stream_is_answered_line_by_line(model):
    """Each line is only written when the one before has been answered."""
    readable, writable = os.pipe()
    with os.fdopen(writable, "wb", buffering=0) as source, os.fdopen(readable, "rb") as stream:
        assert isinstance(stream, BufferedReader)
        found = predict(model, stream, 64)
        for text in ("one", "two", "three"):
            source.write(f"{text}\n".encode())
            assert json.loads(next(found))["prediction"] == text[::-1]
        source.write(b"four\nfi")
        assert json.loads(next(found))["input"] == "four"
        threading.Timer(0.05, lambda: (source.write(b"ve"), source.close())).start()
        assert [json.loads(line)["input"] for line in found] == ["five"]


def test_the_newest_version_answers(model, tmp_path):
    base = tmp_path / "serving"
    for key in "abc":
        push(model, base, key)
    (base / ".half").mkdir()
    (base / "12").mkdir()
    assert find_model(str(base)) == base / "3"
    assert find_model(str(base / "2")) == base / "2"
    assert find_model(model) == Path(model)
    assert answers(str(base), [b"ab"])[0]["prediction"] == "ba"


def test_what_is_no_model_is_said_with_what_was_found(model, tmp_path):
    def refused(path, message):
        with pytest.raises(UserError, match=message):
            next(predict(str(path), [b"a"]))

    expected = "expected a SavedModel's directory or one with its versions, such as serving/<name>"
    refused(tmp_path / "gone", rf"gone is not there; {expected}\.")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", rf"file is a file; {expected}\.")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", rf"empty holds nothing, and no saved_model.pb; {expected}\.")
    for name in ("b.txt", "a.txt"):
        (tmp_path / "empty" / name).touch()
    refused(tmp_path / "empty", r"empty holds a.txt, b.txt, and no saved_model.pb")
    push(model, tmp_path / "serving" / "name", "k")
    refused(tmp_path / "serving", rf"serving is no model; {expected}\. Did you mean .*serving/name\?")
    shutil.copytree(model, tmp_path / "artifact" / "model")
    refused(tmp_path / "artifact", r"artifact is no model; .*Did you mean .*artifact/model\?")


def test_a_model_that_does_not_load_is_said(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"not a graph")
    with pytest.raises(UserError, match=r"cannot be served: Read less bytes than requested"):
        next(predict(str(tmp_path), [b"a"]))


def test_a_model_with_other_outputs_is_said(tmp_path):
    lengths = {"serving_default": lambda text: {"length": tf.strings.length(text)}}
    export_saved_model(lengths, [], str(tmp_path / "m"))
    with pytest.raises(UserError, match=r"m gives \['length'\]; expected `prediction`, `score`, as in"):
        next(predict(str(tmp_path / "m"), [b"a"]))
    with pytest.raises(UserError, match=r"m has the signatures serving_default; expected n_best, which seq2"):
        next(predict(str(tmp_path / "m"), [b"a"], 1, "n_best"))
    with pytest.raises(UserError, match=r"expected classify, which classifiers have\."):
        next(predict(str(tmp_path / "m"), [b"a"], 1, "classify"))


PROCESS = """
import sys
from pipeline.serving.predict import predict
for line in predict(sys.argv[1], sys.stdin.buffer):
    print(line, flush=True)
heavy = {"tensorflow", "tensorflow_text", "keras", "apache_beam", "mlflow", "pydantic"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_neither_tensorflow_nor_keras_is_imported(model):
    ran = subprocess.run(
        [sys.executable, "-c", PROCESS, model],
        input="één\n".encode(),
        capture_output=True,
        check=True,
        cwd=Path(predict_module.__file__).parents[1],
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert ran.stdout.decode().splitlines() == ['{"input": "één", "prediction": "néé", "score": 0.3}', "[]"]
    assert ran.stderr == b""
