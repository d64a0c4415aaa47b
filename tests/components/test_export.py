import json
import shutil
import subprocess
from pathlib import Path

import apache_beam as beam
import keras
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from export_artifacts import DECODE, LABELS, load, read_predictions, write_artifacts
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tensorflow.core.protobuf import saved_model_pb2

from components.errors import UserError
from components.events import StageProgress, listening
from components.export.config import ExportConfig
from components.export.replay import HARD_INPUTS
from components.export.saved_model import export_saved_model, structure_problems
from components.export.session import SavedModelSession, example
from components.export.transform import Export
from components.export.validate import validate

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


@pytest.fixture(scope="module")
def exported(predictor, upstream, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("export") / "model")
    export_saved_model(predictor.signatures, list(predictor.tokenizers.values()), directory)
    return directory


def run(upstream, task, root, **config):
    """Runs the stage; returns its summary."""
    output = root / "export"
    output.mkdir()
    stage = Export(
        config=ExportConfig(**config),
        task=task,
        decode=DECODE,
        output=str(output),
    )
    path = root / "summary.json"
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        summary = pipeline | beam.Create([upstream]) | stage
        summary | "keep" >> beam.Map(lambda found: path.write_text(json.dumps(found)))
    return json.loads(path.read_text())


def test_the_stage_exports_and_proves(upstream, task, tmp_path):
    events = []
    with listening(events.append):
        summary = run(upstream, task, tmp_path)
    others = {"classification": ["classify"], "seq2seq": ["n_best", "explain"]}[task]
    assert summary["replayed"] == 64
    assert summary["bytes"] > 10_000
    server = summary["tiers"].pop("server")
    assert server.startswith(("not run: ", "passed: 32 evaluated examples"))  # as there is one here, or not
    assert summary["tiers"] == {
        "structure": "passed: the model's variables, each once; vocabulary inside; no path of this machine",
        "replay": f"passed: 64 evaluated examples through serving_default, {', '.join(others)}",
        "warm-up": f"passed: {3 * (1 + len(others))} requests",
    }
    report = json.loads((tmp_path / "export" / "validation.json").read_text())
    assert report["ok"]
    assert report["largest_score_difference"] < 1e-5
    assert report["signatures"] == {
        name: {"answered": 64 + len(HARD_INPUTS), "faulty": 0, "faults": []} for name in others
    }
    assert [
        (event.stage, event.done, event.total) for event in events if isinstance(event, StageProgress)
    ] == [("export", done, 2) for done in range(2)]
    with SavedModelSession(tmp_path / "export" / "model") as session:
        evaluated = read_predictions(upstream)
        answers = session.run([row["input"] for row in evaluated])
    assert [answer.decode() for answer in answers["prediction"]] == [row["prediction"] for row in evaluated]
    assert len({row["prediction"] for row in evaluated}) > 2, "the model must tell texts apart"
    names = {"prediction", "score"} | ({"probabilities"} if task == "classification" else set())
    assert set(answers) == names


@pytest.fixture
def copied(tmp_path, upstream):
    """The artifacts, to be changed."""
    shutil.copytree(Path(upstream["train"]).parent, tmp_path / "upstream")
    return {stage: str(tmp_path / "upstream" / stage) for stage in upstream}


@pytest.mark.parametrize("task", ["classification"], indirect=True)
def test_few_evaluated_examples_are_all_replayed(copied, tmp_path):
    path = Path(copied["evaluate"]) / "predictions.jsonl"
    few = path.read_text(encoding="utf-8").splitlines(keepends=True)[:5]
    path.write_text("".join(few), encoding="utf-8")
    assert run(copied, "classification", tmp_path)["replayed"] == 5


def change_weight(upstream):
    path = Path(upstream["train"]) / "model.keras"
    model = keras.models.load_model(path)
    kernel = model.get_layer("logits").kernel
    kernel.assign(1.01 * kernel)
    model.save(path)


def swap_pieces(upstream):
    path = Path(upstream["tokenize"]) / "tokenizer" / "text" / "tokenizer.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["pieces"][5], settings["pieces"][6] = settings["pieces"][6], settings["pieces"][5]
    path.write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize("task", ["classification"], indirect=True)
@pytest.mark.parametrize("sabotage", [change_weight, swap_pieces])
def test_a_model_that_is_not_the_evaluated_one_is_refused(copied, tmp_path, sabotage):
    sabotage(copied)
    with pytest.raises(UserError, match=r"refused to push: .* answered differently") as error:
        run(copied, "classification", tmp_path, replay_examples=32)
    report = json.loads((tmp_path / "export" / "validation.json").read_text())
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
            key, asked = ("text", inputs)
            if name == "classify":
                key, asked = ("inputs", list(map(example, inputs)))
            served = session.run(asked, name)
            assert session.signature(name).inputs[key].dtype == "string"
            for answers in (reloaded[name](**{key: tf.constant(asked)}), signature(tf.constant(asked))):
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


def test_a_remote_directory_is_refused_before_anything_runs():
    with pytest.raises(ValidationError, match="expected a local directory"):
        ExportConfig(directory="gs://bucket/serving")


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
