"""The train stage: what it makes, and what attempts at the same training do to each other."""

import base64
import json
import pickle
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from stage_runner import run_on_nothing, run_transform
from tiny_training import (
    HARD,
    MODEL,
    PLAIN,
    TrainOne,
    assert_same_weights,
    kill_after,
    make_pairs,
    make_texts,
    train,
)

from components import files
from components.artifacts.artifact import inputs_hash, local_file, manifest_path
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel, checkpoint_folder, weights_digest, write_model
from components.heartbeat import Heartbeat
from components.models.build import build_model
from components.reports import EpochFinished, Progress, Warned, listening
from components.train import transform
from components.train.config import TrainConfig
from components.train.devices import device_facts
from components.train.transform import Train, Trial
from components.work import Work

SIZES = {"text": 10, "label": 2, "source": 10, "target": 10}
WAITING = "another run is training this very model: waiting for its result"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def trained(tokens, tmp_path_factory):
    events = []
    with listening(events.append):
        artifact = train(tokens, tmp_path_factory.mktemp("trained"), epochs=2)
    return artifact, events


def work_on(tokens, root, lineage=""):
    """A training's work, and where its checkpoints are."""
    work = Work(files.resolve(root), TrainedModel.stage, "key", lineage=lineage)
    parts = ("train", "validation", "vocabulary")
    inputs = inputs_hash({f"tokenize {part}": tokens.reference.digests[part] for part in parts})
    return work, checkpoint_folder(work, inputs), manifest_path(work.root, "train", "key", inputs, 1)


def fit(tokens, work, epochs=2):
    """Runs the stage, without a manifest."""
    stage = TrainOne(
        TrainConfig.model_validate({**PLAIN, "epochs": epochs, "batch_size": 32}),
        MODEL,
        "classification",
        3,
        work,
    )
    (made,) = run_transform(stage, [{"tokenize": tokens.reference}])
    return made


def model_of(work, made):
    (file,) = (each for each in made.files if each.name == "model.keras")
    return local_file(work.root, file).read_bytes()


def test_the_stage_makes_model_history_pictures_and_checkpoint(trained, tokens):
    artifact, events = trained
    assert artifact.names() == ["checkpoint", "history.json", "model.keras", "plots/training_curves.png"]
    history = artifact.history()
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2]
    last = history["epochs"][1]
    assert artifact.summary == {
        "epochs": 2,
        "kept_epoch": 2,
        "kept_step": 16,
        "parameters": artifact.summary["parameters"],
        "weights": artifact.summary["weights"],
        **device_facts(),
        **{name: last[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
    }
    finished = [event for event in events if isinstance(event, EpochFinished)]
    assert [(event.stage, event.epoch, event.epochs) for event in finished] == [
        ("train", 1, 2),
        ("train", 2, 2),
    ]
    assert any(isinstance(event, Progress) and event.stage == "train" for event in events)
    assert artifact.read("plots/training_curves.png").startswith(b"\x89PNG")
    _, folder, _ = work_on(tokens, artifact.root)
    assert artifact.place("checkpoint").parent == folder
    assert files.names(folder) == [
        "00001-" + artifact.place("checkpoint").name[6:],
        "00002-" + artifact.place("checkpoint").name[6:],
    ]


def test_equal_trainings_give_equal_bytes(trained, tokens, tmp_path):
    artifact, _ = trained
    again = train(tokens, tmp_path, key="other", epochs=2)
    assert again.read("model.keras") == artifact.read("model.keras")
    assert again.summary == artifact.summary
    assert again.manifest.digests["model"] == artifact.manifest.digests["model"]
    other = train(tokens, tmp_path, seed=4, epochs=2)
    assert other.read("model.keras") != artifact.read("model.keras")
    assert other.summary["weights"] != artifact.summary["weights"]


def test_trials_are_elements_of_one_step_and_each_is_as_if_alone(trained, tokens, tmp_path):
    """Whatever one leaves behind in the process: seeds, names, the state of an optimizer."""
    root = files.resolve(tmp_path)
    trials, alone = {}, {}
    for name, seed, epochs in (("train", 3, 2), ("train 2", 4, 1), ("train 3", 3, 2)):
        work = Work(root, "train", f"key of {name}", root / "status" / name, node=name)
        config = TrainConfig.model_validate({**PLAIN, "epochs": epochs, "batch_size": 32})
        trials[name] = Trial(config, MODEL, "classification", seed, work)
        alone[name] = train(tokens, tmp_path / name, seed=seed, epochs=epochs)
    events = []
    with listening(events.append):
        found = run_transform(Train(trials), [(name, {"tokenize": tokens.reference}) for name in trials])
    made = dict(found)
    assert made.keys() == trials.keys()
    for name, trial in trials.items():
        assert model_of(trial.work, made[name]) == alone[name].read("model.keras")
        assert made[name].summary == alone[name].summary
    assert model_of(trials["train 3"].work, made["train 3"]) == trained[0].read("model.keras")
    epochs = [(event.stage, event.epoch) for event in events if isinstance(event, EpochFinished)]
    assert sorted(epochs) == [("train", 1), ("train", 2), ("train 2", 1), ("train 3", 1), ("train 3", 2)]


def test_a_model_holds_neither_dates_nor_counted_names(trained):
    artifact, _ = trained
    with zipfile.ZipFile(artifact.model_file()) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("metadata.json")) == {"keras_version": keras.__version__}
        assert json.loads(archive.read("config.json"))["config"]["name"] == "classifier"


@pytest.mark.parametrize(("model", "task"), [(MODEL, "classification"), (HARD, "seq2seq")])
def test_a_saved_model_is_the_model(model, task, tmp_path):
    model = build_model(model, task, SIZES)
    model.compile(optimizer="adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    work = Work(files.resolve(tmp_path), "train", "key")
    with work.attempt() as attempt:
        saved = local_file(work.root, write_model(attempt, model))
    loaded = keras.models.load_model(saved)
    assert_same_weights(model, loaded)
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    inputs = np.array([[4, 5, 6]], "int32")
    inputs = {"source": inputs, "previous": inputs} if task == "seq2seq" else inputs
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    assert weights_digest(loaded, "vocabulary") == weights_digest(model, "vocabulary")


def test_the_hash_of_the_weights_is_that_of_all_that_decides_the_answers():
    keras.utils.set_random_seed(1)
    model = build_model(MODEL, "classification", SIZES)
    first = weights_digest(model, "vocabulary")
    other = build_model(MODEL, "classification", SIZES)
    assert weights_digest(other, "vocabulary") != first
    other.set_weights(model.get_weights())
    assert weights_digest(other, "vocabulary") == first
    assert weights_digest(model, "other") != first
    mean = build_model(MODEL.model_copy(update={"pooling": "mean"}), "classification", SIZES)
    mean.set_weights(model.get_weights())
    assert weights_digest(mean, "vocabulary") != first
    bias = model.readout.bias
    bias.assign(np.nextafter(bias.numpy(), 1))
    assert weights_digest(model, "vocabulary") != first


def test_a_killed_stage_goes_on_in_another_attempt(trained, tokens, tmp_path):
    with listening(kill_after(1)), pytest.raises(BaseException, match="KilledError"):
        train(tokens, tmp_path, epochs=2)
    events = []
    with listening(events.append):
        resumed = train(tokens, tmp_path, epochs=2)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [2]
    assert resumed.read("model.keras") == trained[0].read("model.keras")


def test_what_was_killed_is_taken_over_at_once(trained, tokens, tmp_path):
    """Its heartbeat is fresh, but its process is gone."""
    work, folder, _ = work_on(tokens, tmp_path)
    pickled = base64.b64encode(pickle.dumps((tokens.reference, work))).decode()
    process = subprocess.Popen([sys.executable, __file__, pickled], cwd=Path(__file__).parents[2])
    try:
        while not any(name.endswith(".ckpt") for name in files.names(folder)):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert files.exists(folder / "heartbeat")
    events = []
    with listening(events.append):
        made = fit(tokens, work)
    said = [event.message for event in events if isinstance(event, Warned)]
    assert len(said) == 1
    assert said[0].startswith("going on after epoch")
    assert model_of(work, made) == trained[0].read("model.keras")


def test_a_lineage_shares_checkpoints_and_a_number_does_not(tokens, tmp_path):
    shorter, folder, _ = work_on(tokens, tmp_path, lineage="line")
    assert str(folder).endswith("/artifacts/train/checkpoints/line/" + folder.name)
    fit(tokens, shorter, epochs=1)
    events = []
    with listening(events.append):
        fit(tokens, Work(shorter.root, "train", "longer", lineage="line"), epochs=2)
        fit(tokens, Work(shorter.root, "train", "key", lineage="line", number=2), epochs=1)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [2, 1]


@pytest.mark.parametrize("beating", [True, False])
def test_two_attempts_at_once_end_with_the_same_bits(trained, tokens, tmp_path, monkeypatch, beating):
    """Whether the second hears of the first and waits, or both train."""
    if not beating:
        monkeypatch.setattr(transform, "is_beating", lambda *_, **__: False)
    work, folder, _ = work_on(tokens, tmp_path)
    made, events, begun = [], [], threading.Event()

    def hear(event):
        events.append(event)
        begun.set()

    threads = [threading.Thread(target=lambda: made.append(fit(tokens, work))) for _ in range(2)]
    with listening(hear):
        threads[0].start()
        assert begun.wait(60)
        threads[1].start()
        for thread in threads:
            thread.join(120)
    assert [model_of(work, each) for each in made] == [trained[0].read("model.keras")] * 2
    said = [event.message for event in events if isinstance(event, Warned)]
    assert (WAITING in said) is beating
    assert len({file.path for one in made for file in one.files}) == 8
    assert not files.exists(folder / "heartbeat")


@pytest.mark.parametrize("end", ["its end", "its manifest"])
def test_an_attempt_waits_for_another_that_beats(tokens, tmp_path, end):
    work, folder, manifest = work_on(tokens, tmp_path)
    ended = []

    def finish():
        time.sleep(1)
        ended.append(time.monotonic())
        if end == "its end":
            heartbeat.__exit__(None, None, None)
        else:
            files.write(manifest, b"{}")

    first = []
    events = []

    def hear(event):
        events.append(event)
        if not isinstance(event, Warned) and not first:
            first.append(time.monotonic())

    with Heartbeat(folder / "heartbeat", name="another") as heartbeat:
        thread = threading.Thread(target=finish)
        thread.start()
        with listening(hear):
            fit(tokens, work, epochs=1)
        thread.join()
    assert events[0] == Warned("train", WAITING)
    assert first[0] > ended[0]


def test_a_training_in_an_object_store(trained, tokens, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    root = f"memory://{tmp_path.name}-train"
    there = make_texts(root)
    with listening(kill_after(1)), pytest.raises(BaseException, match="KilledError"):
        train(there, root, epochs=2)
    artifact = train(there, root, epochs=2)
    assert artifact.read("model.keras") == trained[0].read("model.keras")
    assert artifact.summary["weights"] == trained[0].summary["weights"]
    assert_same_weights(*(keras.models.load_model(each.model_file()) for each in (artifact, trained[0])))
    assert artifact.history()["best_epoch"] == trained[0].history()["best_epoch"]


def test_nothing_comes_of_nothing(tmp_path):
    tfidf = {"encoder": {"type": "tfidf", "units": 4, "hash_bins": 50}}
    ridge = {"encoder": {"type": "echo_state_rnn", "units": 4}, "readout": {"type": "ridge"}}
    for settings in (MODEL, tfidf, ridge):
        model = type(MODEL).model_validate(settings)
        made = run_on_nothing(
            lambda work, model=model: TrainOne(TrainConfig(), model, "classification", 3, work),
            TrainedModel,
            tmp_path,
        )
        assert made == []


def test_a_seq2seq_model_is_trained(tmp_path):
    artifact = train(make_pairs(tmp_path), tmp_path, model=HARD, task="seq2seq", epochs=1)
    assert artifact.summary["epochs"] == 1
    assert keras.models.load_model(artifact.model_file()).name == "seq2seq"


def train_without_end():
    """What the process that is killed does: two epochs, and then it hangs."""
    reference, work = pickle.loads(base64.b64decode(sys.argv[1]))

    def hang(event):
        if isinstance(event, EpochFinished) and event.epoch == 2:
            time.sleep(600)

    with listening(hang):
        fit(Tokens.load(reference), work)


if __name__ == "__main__":
    train_without_end()
