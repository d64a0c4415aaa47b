import hashlib
import json
import shutil
import subprocess
import uuid
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_artifacts import (
    DECODE,
    LABELS,
    WEIGHTS,
    load,
    make_trained,
    read_predictions,
    write_artifacts,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from made_artifacts import make_tokens
from pydantic import ValidationError
from stage_runner import commit, run_on_nothing, run_stage
from tensorflow.core.protobuf import saved_model_pb2

from components import files
from components.artifacts.exported_model import (
    ExportedModel,
    ModelId,
    add_model,
    decoding_hash,
    model_path,
    validation_path,
)
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from components.export.config import ExportConfig
from components.export.replay import HARD_INPUTS
from components.export.saved_model import export_saved_model, structure_problems
from components.export.session import SavedModelSession
from components.export.transform import Export
from components.export.validate import validate
from components.export.wire import example
from components.models.decode import DecodeConfig
from components.reports import Progress, listening
from components.work import Made, Work

TASKS = ("classification", "seq2seq")


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return request.param


@pytest.fixture(scope="module")
def upstream(task, tmp_path_factory):
    return write_artifacts(tmp_path_factory.mktemp(task), task)


@pytest.fixture(scope="module")
def predictor(upstream, task):
    return load(upstream, task)


def run(upstream, task, root, **config):
    """Runs the stage; returns its artifact."""

    def make(work):
        return Export(ExportConfig(**config), task, DECODE if task == "seq2seq" else None, work)

    return run_stage(make, ExportedModel, upstream, root)


@pytest.fixture(scope="module")
def made(upstream, task):
    """The stage's artifact, and the events."""
    events = []
    with listening(events.append):
        artifact = run(upstream, task, upstream["train"].root)
    return artifact, events


@pytest.fixture(scope="module")
def exported(made):
    return str(made[0].saved_model())


def test_the_stage_exports_and_proves(made, upstream, task):
    artifact, events = made
    others = {"classification": ["classify"], "seq2seq": ["n_best", "explain"]}[task]
    asked = 64 + len(HARD_INPUTS)
    answered = dict.fromkeys(others, asked) | {"score": asked + 64 + 8 + 2 * (8 + 1)}
    summary = dict(artifact.summary)
    assert summary["replayed"] == 64
    assert summary["bytes"] == sum(
        path.stat().st_size for path in artifact.saved_model().rglob("*") if path.is_file()
    )
    assert summary["bytes"] > 10_000
    tiers = dict(summary["tiers"])
    server = tiers.pop("server")
    assert server.startswith(("not run: ", "passed: 32 evaluated examples"))  # as there is one here, or not
    assert tiers == {
        "structure": "passed: the model's variables, each once; vocabulary inside; no path of this machine",
        "replay": f"passed: 64 evaluated examples through serving_default, {', '.join(answered)}",
        "warm-up": f"passed: {3 * (1 + len(answered))} requests",
    }
    report = artifact.validation()
    assert report["ok"]
    assert report["largest_score_difference"] < 1e-5
    assert report["signatures"] == {
        name: {"answered": count, "faulty": 0, "faults": []} for name, count in answered.items()
    }
    assert [(event.stage, event.done, event.total) for event in events if isinstance(event, Progress)] == [
        ("export", done, 2) for done in range(2)
    ]
    with SavedModelSession(artifact.saved_model()) as session:
        evaluated = read_predictions(upstream)
        answers = session.run([row["input"] for row in evaluated])
    assert [answer.decode() for answer in answers["prediction"]] == [row["prediction"] for row in evaluated]
    assert len({row["prediction"] for row in evaluated}) > 2, "the model must tell texts apart"
    names = {"prediction", "score"} | ({"probabilities"} if task == "classification" else set())
    assert set(answers) == names


def test_a_model_is_named_by_its_weights_and_by_how_answers_are_searched_for(made, task):
    decoding = hashlib.sha256(b"{}").hexdigest()[:16] if task == "classification" else decoding_hash(DECODE)
    assert made[0].model_id == ModelId(WEIGHTS, decoding)
    assert decoding_hash(DECODE) != decoding_hash(DecodeConfig(**{**DECODE.model_dump(), "beam_size": 1}))


@pytest.mark.parametrize("task", ["classification"], indirect=True)
def test_every_byte_of_the_model_is_looked_at(made, tmp_path):
    artifact, _ = made
    assert artifact.thorough_damage() == ""
    copy = Work(files.resolve(tmp_path), "export", "key")
    with copy.attempt() as attempt:
        shutil.copytree(artifact.saved_model(), model_path(attempt))
        validation_path(attempt).write_text("{}")
        copied = commit(ExportedModel, copy, Made(add_model(attempt), {}))
    assert copied.thorough_damage() == ""
    graph = copied.saved_model() / "saved_model.pb"
    before = graph.read_bytes()
    graph.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert copied.thorough_damage() == f"{graph} is not what was written"
    graph.write_bytes(before[:-1])
    assert f"{graph} has {len(before) - 1} bytes instead of {len(before)}" in copied.thorough_damage()
    graph.unlink()
    assert f"{graph} is missing" in copied.thorough_damage()


def test_of_nothing_nothing_is_made(tmp_path):
    found = run_on_nothing(
        lambda work: Export(ExportConfig(), "classification", None, work), ExportedModel, tmp_path
    )
    assert found == []
    assert not files.entries(files.resolve(tmp_path))


def test_a_root_that_is_not_on_a_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    root = files.resolve(f"memory://{uuid.uuid4().hex}")
    upstream = write_artifacts(root, "classification", 5)
    artifact = run(upstream, "classification", root)
    assert artifact.summary["replayed"] == 5, "few evaluated examples are all replayed"
    assert artifact.thorough_damage() == ""
    evaluated = read_predictions(upstream)
    with SavedModelSession(artifact.saved_model()) as session:
        answers = session.run([row["input"] for row in evaluated])
    assert [answer.decode() for answer in answers["prediction"]] == [row["prediction"] for row in evaluated]


def change_weight(upstream):
    trained = TrainedModel.load(upstream["train"])
    model = keras.models.load_model(trained.model_file())
    kernel = model.get_layer("logits").kernel
    kernel.assign(1.01 * kernel)
    return {"train": make_trained(trained.root, model)}


def swap_pieces(upstream):
    tokens = Tokens.load(upstream["tokenize"])
    tokenizer = tokens.tokenizer("text")
    pieces = list(tokenizer.pieces)
    pieces[5], pieces[6] = pieces[6], pieces[5]
    swapped = type(tokenizer)(tokenizer.config, pieces)
    made = make_tokens(tokens.root, "classification", {}, {"text": swapped}, tokens.labels())
    return {"tokenize": made.reference}


@pytest.mark.parametrize("task", ["classification"], indirect=True)
@pytest.mark.parametrize("sabotage", [change_weight, swap_pieces])
def test_a_model_that_is_not_the_evaluated_one_is_refused(upstream, tmp_path, sabotage):
    changed = {**upstream, **sabotage(upstream)}
    with pytest.raises(UserError, match=r"refused to push: .* answered differently") as error:
        run(changed, "classification", tmp_path, replay_examples=32)
    (found,) = tmp_path.rglob("validation.json")
    report = json.loads(found.read_text())
    first = report["mismatches"][0]
    assert f"{report['mismatched']} of 32 examples" in str(error.value)
    assert f"input {first['input']!r}, evaluated as {first['evaluated']['prediction']!r}" in str(error.value)
    assert [line.split()[:2] for line in str(error.value).splitlines()[1:]] == [
        ["structure", "passed:"],
        ["replay", "failed"],
        ["warm-up", "passed:"],
        ["server", "not"],
    ]
    assert report["largest_score_difference"] > 1e-4


def test_python_and_the_c_api_answer_alike(exported, predictor):
    inputs = ["", "a", "🙂", "abc äé東", "x" * 10_000, "\0", " \n", "日本"]
    reloaded = tf.saved_model.load(exported).signatures
    with SavedModelSession(exported) as session:
        assert session.signatures == sorted(predictor.signatures)
        for name, signature in predictor.signatures.items():
            asked = {"text": inputs}
            if name == "classify":
                asked = {"inputs": list(map(example, inputs))}
            if name == "score":
                asked["target"] = ["größer", "red", "", "🙂" * 50, "blue", "\0", "?", " "]
            served = session.run(asked, name)
            assert set(session.signature(name).inputs) == set(asked)
            tensors = {key: tf.constant(texts) for key, texts in asked.items()}
            for answers in (reloaded[name](**tensors), signature(*tensors.values())):
                assert set(answers) == set(served)
                for output, values in answers.items():
                    if served[output].dtype == "float32":
                        np.testing.assert_allclose(served[output], values, rtol=1e-5, atol=1e-6)
                    else:
                        np.testing.assert_array_equal(served[output], values)


@pytest.fixture(scope="module")
def session(exported):
    with SavedModelSession(exported) as opened:
        yield opened


TEXTS = st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass"))
ODD = st.sampled_from([b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\r\n\t\x1b[0m", b"x" * 100_000])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_two_thousand_texts_of_any_kind_have_defined_answers(session, task, data):
    """Also what is no UTF-8, such as half a surrogate pair, and the empty and the very long."""
    kinds = st.one_of(TEXTS, TEXTS, TEXTS, st.binary(max_size=40), ODD)
    texts = data.draw(st.lists(kinds, min_size=50, max_size=50))
    found = session.run(texts)
    assert len(found["prediction"]) == 50
    assert np.isfinite(found["score"]).all()
    if task == "classification":
        assert {answer.decode() for answer in found["prediction"]} <= set(LABELS)
        assert ((found["score"] > 0) & (found["score"] <= 1)).all()
    else:
        assert all(isinstance(answer.decode(), str) for answer in found["prediction"])


def test_classify_is_what_tf_serving_expects(exported, task):
    """See tensorflow_serving/servables/tensorflow/classifier.cc."""
    model = saved_model_pb2.SavedModel.FromString((Path(exported) / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    if task == "seq2seq":
        assert "classify" not in signatures
        return
    assert signatures["classify"].method_name == "tensorflow/serving/classify"
    assert signatures["serving_default"].method_name == "tensorflow/serving/predict"
    assert list(signatures["classify"].inputs) == ["inputs"]
    assert set(signatures["classify"].outputs) == {"classes", "scores"}
    with SavedModelSession(exported) as session:
        found = session.run([example("abc"), example("d")], "classify")
        assert [label.decode() for label in found["classes"][1]] == LABELS
        assert found["scores"].shape == (2, len(LABELS))
        best = found["classes"][0][found["scores"][0].argmax()]
        assert best == session.run(["abc"])["prediction"][0]


def test_every_variable_is_stored_once(exported, predictor):
    stored = [
        tuple(shape)
        for name, shape in tf.train.list_variables(f"{exported}/variables/variables")
        if name.endswith("VARIABLE_VALUE") and "save_counter" not in name
    ]
    weights = [weight for weight in predictor.model.weights if "seed_generator" not in weight.path]
    assert sorted(stored) == sorted(tuple(weight.shape) for weight in weights)


def test_an_export_works_wherever_it_is_moved(exported, tmp_path):
    moved = tmp_path / "größer 東京" / "a b"
    shutil.copytree(exported, moved)
    with SavedModelSession(moved) as session:
        assert session.run(["abc"])["score"].shape == (1,)


class Vocabulary(tf.Module):
    """Looks words up in a file, which becomes an asset."""

    def __init__(self, path):
        super().__init__()
        lines = tf.lookup.TextFileInitializer(
            str(path),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(lines, -1)

    def __call__(self, text):
        return {"id": self.table.lookup(text)}


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "read from here" / "words.txt"
    path.parent.mkdir()
    path.write_text("zero\none\ntwo\n")
    return path


def test_a_vocabulary_file_travels_with_the_model(words, tmp_path):
    vocabulary = Vocabulary(words)
    export_saved_model({"serving_default": vocabulary}, [vocabulary], str(tmp_path / "model"))
    shutil.rmtree(words.parent)
    shutil.move(tmp_path / "model", tmp_path / "moved")
    with SavedModelSession(tmp_path / "moved") as session:
        assert session.run(["two", "three"])["id"].tolist() == [2, -1]
    assert structure_problems(str(tmp_path / "moved"), []) == []
    (tmp_path / "moved" / "assets" / "words.txt").unlink()
    assert structure_problems(str(tmp_path / "moved"), []) == ["assets/words.txt is missing"]


def test_a_path_of_this_machine_in_the_model_is_a_problem(words, tmp_path):
    vocabulary = Vocabulary(words)  # TensorFlow names the table after its file
    model = str(tmp_path / "model")
    variables = export_saved_model({"serving_default": vocabulary}, [vocabulary], model)
    (problem,) = structure_problems(model, variables, [model, str(words.parent)])
    assert problem == f"saved_model.pb names {words.parent}"


@pytest.fixture
def dense(tmp_path):
    """The variables of a model in `model`; with `tracked` it is written as the whole layer."""

    def write(tracked=()):
        layer = keras.layers.Dense(2)
        layer.build((None, 1))
        signature = {"serving_default": lambda text: {"out": layer(tf.strings.length(text)[:, None])}}
        return export_saved_model(signature, [layer] if tracked else [], str(tmp_path / "model"))

    return write


def test_a_variable_that_is_stored_twice_is_a_problem(dense, tmp_path):
    variables = dense(tracked=True)
    expected = ["4 variables are stored, but the model has 2"]
    assert structure_problems(str(tmp_path / "model"), variables) == expected


def test_a_single_weight_that_was_changed_is_a_problem(dense, tmp_path):
    variables = dense()
    model = str(tmp_path / "model")
    assert structure_problems(model, variables) == []
    kernel = next(variable for variable in variables if variable.shape.rank == 2)
    (data,) = (tmp_path / "model" / "variables").glob("*.data-*")
    place = data.read_bytes().index(kernel.numpy().tobytes())
    kernel.assign_add([[0.0, 1e-6]])
    assert structure_problems(model, variables) == ["1 of 2 variables are not those of the model"]
    with data.open("rb+") as file:  # TensorFlow has a checksum of its own
        file.seek(place)
        file.write(b"\0\0\0\1")
    (problem,) = structure_problems(model, variables)
    assert problem.startswith("the variables cannot be read: ")


def test_variables_that_were_cut_off_are_a_problem(dense, tmp_path):
    variables = dense()
    (data,) = (tmp_path / "model" / "variables").glob("*.data-*")
    data.write_bytes(data.read_bytes()[:-2])
    (problem,) = structure_problems(str(tmp_path / "model"), variables)
    assert problem.startswith("the variables cannot be read: ")


def test_an_unsound_model_is_refused_before_it_is_replayed(tmp_path):
    with pytest.raises(
        UserError, match=r"refused to push: the SavedModel is not sound: it is; also this\. "
    ) as error:
        validate("model", "evaluated", 4, str(tmp_path / "report.json"), ["it is", "also this"])
    tiers = str(error.value).splitlines()[1:]
    assert tiers == [
        "structure  failed",
        "replay     not run: the model has failed already",
        "warm-up    not run: the model has failed already",
        "server     not run: the model has failed already",
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tiers"]["structure"] == "failed: it is; also this"


def test_an_address_that_cannot_be_written_is_refused_before_anything_runs():
    with pytest.raises(ValidationError, match="expected a local directory, or an address"):
        ExportConfig(directory="ftp://host/serving")


@pytest.mark.parametrize(
    ("undefined", "advice"),
    [
        (
            {"10,000 characters": "its score is nan"},
            "explode on texts longer than those they were trained on",
        ),
        ({"an emoji": "its score is nan"}, "run it again with --force export"),
        ({"an emoji": "no", "10,000 characters": "no"}, "run it again with --force export"),
    ],
)
def test_the_advice_fits_what_has_no_answer(undefined, advice, monkeypatch, tmp_path):
    report = {
        "ok": False,
        "replayed": 1,
        "undefined": undefined,
        "mismatched": 0,
        "signatures": {},
        "warmup": {"requests": 3, "problem": ""},
        "foreign_modules": [],
    }
    ended = subprocess.CompletedProcess([], 1, stdout=json.dumps(report).encode(), stderr=b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(UserError, match=advice):
        validate("model", "evaluated", 1, str(tmp_path / "report.json"))


def test_a_search_that_finds_nothing_is_told_from_a_bad_export(monkeypatch, tmp_path):
    report = {
        "ok": False,
        "replayed": 4,
        "unanswered": 3,
        "mismatched": 0,
        "undefined": {"an emoji": "its score is -inf"},
        "signatures": {},
        "warmup": {"requests": 3, "problem": ""},
        "foreign_modules": [],
    }
    ended = subprocess.CompletedProcess([], 1, stdout=json.dumps(report).encode(), stderr=b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(UserError, match=r"In evaluation, too, 3 of 4 examples got no answer: .*min_length"):
        validate("model", "evaluated", 4, str(tmp_path / "report.json"))
