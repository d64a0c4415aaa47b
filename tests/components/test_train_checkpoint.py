"""Checkpoints: a training that was cut short goes on, to the same bits."""

import hashlib
import io
import json

import numpy as np
import pytest
from tiny_training import (
    HARD,
    KilledError,
    assert_same_weights,
    checkpoints,
    kill_after,
    make_pairs,
    make_texts,
    trainer,
    without_times,
)

from components import files
from components.reports import EpochFinished, Warned, listening
from components.train import loop


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def whole(tokens, tmp_path_factory):
    """A training of four epochs at a stretch, and its history."""
    training = trainer(tokens, tmp_path_factory.mktemp("whole"), epochs=4)
    return training, training.fit()


def fit(training):
    """Returns the history, the epochs that were trained and what was said."""
    events = []
    with listening(events.append):
        history = training.fit()
    epochs = [event.epoch for event in events if isinstance(event, EpochFinished)]
    return history, epochs, [event.message for event in events if isinstance(event, Warned)]


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def with_checksum(content):
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate_schedule": "cosine", "label_smoothing": 0.1},
        {"early_stopping": {"patience": 10}},
        {"model": HARD, "teacher_forcing_ratio": {"end": 0.2}, "batch_size": 30, "length_buckets": 1},
    ],
    ids=["smoothed", "stopping", "sampled"],
)
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(tokens, pairs, tmp_path, settings):
    settings = {"epochs": 4, **settings}
    tokens = pairs if "model" in settings else tokens
    whole = trainer(tokens, tmp_path / "whole", **settings)
    expected = whole.fit()
    killed = trainer(tokens, tmp_path / "killed", **settings)
    with listening(kill_after(2)), pytest.raises(KilledError):
        killed.fit()
    resumed = trainer(tokens, tmp_path / "killed", attempt="b", **settings)
    history, epochs, said = fit(resumed)
    assert epochs == [3, 4]
    assert said == ["going on after epoch 2 of an earlier run"]
    assert without_times(history) == without_times(expected)
    assert history["best_epoch"] == expected["best_epoch"]
    assert_same_weights(whole.model, resumed.model)


def test_more_epochs_go_on_after_the_last_one(tokens, whole, tmp_path):
    trainer(tokens, tmp_path, epochs=2).fit()
    longer = trainer(tokens, tmp_path, attempt="b", epochs=4)
    history, epochs, said = fit(longer)
    assert epochs == [3, 4]
    assert said == []  # nothing was interrupted
    assert without_times(history) == without_times(whole[1])
    assert_same_weights(whole[0].model, longer.model)


def test_stops_on_the_way_are_no_interruptions(tokens, whole, tmp_path):
    said = []
    for attempt, stop in (("a", 1), ("b", 2)):
        said += fit(trainer(tokens, tmp_path, attempt=attempt, epochs=4, stop=stop))[2]
    with listening(kill_after(3)), pytest.raises(KilledError):
        trainer(tokens, tmp_path, attempt="c", epochs=4).fit()
    assert said == []
    last = trainer(tokens, tmp_path, attempt="d", epochs=4)
    assert fit(last)[1:] == ([4], ["going on after epoch 3 of an earlier run"])
    assert_same_weights(whole[0].model, last.model)


def test_another_number_of_threads_is_told_and_noted(tokens, tmp_path, monkeypatch):
    count = loop.threads()["intra_op"]
    first = trainer(tokens, tmp_path, epochs=1)
    first.fit()
    assert first.earlier_threads == []
    monkeypatch.setattr(loop, "threads", lambda: {"intra_op": count + 1})
    for attempt, epochs in (("b", 2), ("c", 3)):  # every later attempt still knows it
        longer = trainer(tokens, tmp_path, attempt=attempt, epochs=epochs)
        (said,) = fit(longer)[2]
        assert said == (
            f"an earlier attempt had {count} threads within operations, this one has {count + 1}: the last "
            "bits of the weights may differ from those of a training with one count"
        )
        assert longer.earlier_threads == [count]


def test_fewer_epochs_take_nothing_of_later_ones(tokens, tmp_path):
    trainer(tokens, tmp_path, epochs=4).fit()
    assert checkpoints(tmp_path) == ["00003-a.ckpt", "00004-a.ckpt"]
    three = trainer(tokens, tmp_path, attempt="b", epochs=3)
    history, epochs, _ = fit(three)
    assert (len(history["epochs"]), epochs) == (3, [])
    two = trainer(tokens, tmp_path, attempt="c", epochs=2)
    assert fit(two)[1] == [1, 2]
    whole = trainer(tokens, tmp_path / "whole", epochs=3)
    whole.fit()
    assert_same_weights(whole.model, three.model)


def test_a_damaged_checkpoint_is_left_out(tokens, whole, tmp_path):
    trainer(tokens, tmp_path, epochs=3).fit()
    newest = tmp_path / "checkpoints" / "00003-a.ckpt"
    content = newest.read_bytes()
    training = trainer(tokens, tmp_path, attempt="b", epochs=4)
    for damaged in (
        b"",
        b"\xff\x00 no checkpoint",
        content[: len(content) // 2],
        content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    ):
        newest.write_bytes(damaged)
        events = []
        with listening(events.append):
            state = training.checkpoints.restore(training.model, 4)
        assert len(state.history["epochs"]) == 2
        (said,) = events
        assert "00003-a.ckpt is left out, and training goes back before it: it is damaged" in said.message
    assert fit(training)[1] == [3, 4]
    assert_same_weights(whole[0].model, training.model)


def test_all_that_cannot_be_a_checkpoint_is_left_out(tokens, whole, tmp_path):
    """Objects with a right checksum that hold something else; a folder is none."""
    folder = tmp_path / "checkpoints"
    trainer(tokens, tmp_path, epochs=2).fit()
    (folder / "00003-folder.ckpt").mkdir()
    history = np.frombuffer(json.dumps({"epochs": [], "validations": []}).encode(), np.uint8)
    for name, content in {
        "empty": b"",
        "zip": b"PK\x03\x04 no archive",
        "nothing": npz(),
        "history": npz(history=np.frombuffer(b"[]", np.uint8)),
        "other": npz(history=history, variable_00000=np.zeros(3)),
    }.items():
        (folder / f"00003-{name}.ckpt").write_bytes(with_checksum(content))
    training = trainer(tokens, tmp_path, attempt="b", epochs=4)
    _, epochs, said = fit(training)
    assert epochs == [3, 4]
    left_out = {path.name for path in folder.glob("00003-*") if any(f"{path} is left out" in w for w in said)}
    assert left_out == {f"00003-{name}.ckpt" for name in ("empty", "zip", "nothing", "history", "other")}
    assert_same_weights(whole[0].model, training.model)


def test_without_a_whole_checkpoint_training_starts(tokens, tmp_path):
    trainer(tokens, tmp_path, epochs=1).fit()
    (tmp_path / "checkpoints" / "00001-a.ckpt").write_bytes(b"")
    (tmp_path / "checkpoints" / "00007-a.part").write_bytes(b"something else")
    assert fit(trainer(tokens, tmp_path, attempt="b", epochs=1))[1] == [1]


def test_an_attempt_removes_its_own_checkpoints_but_the_newest_two(tokens, tmp_path):
    """A straggler and its successor leave each other's alone, in whatever order they work."""
    straggler = trainer(tokens, tmp_path, attempt="a", epochs=4)

    def another(event):
        # While the straggler is after its second epoch, another attempt does the rest.
        if isinstance(event, EpochFinished) and event.epoch == 2 and not begun:
            begun.append(True)
            successor.fit()
            assert checkpoints(tmp_path) == ["00001-a.ckpt", "00002-a.ckpt", "00003-b.ckpt", "00004-b.ckpt"]

    begun = []
    successor = trainer(tokens, tmp_path, attempt="b", epochs=4)
    with listening(another):
        straggler.fit()
    assert checkpoints(tmp_path) == ["00003-a.ckpt", "00003-b.ckpt", "00004-a.ckpt", "00004-b.ckpt"]
    assert_same_weights(straggler.model, successor.model)


def test_the_last_checkpoint_is_always_ones_own(tokens, tmp_path):
    """Another attempt may remove its own; what an artifact lists must stay."""
    trainer(tokens, tmp_path, epochs=2).fit()
    again = trainer(tokens, tmp_path, attempt="b", epochs=2)
    assert fit(again)[1] == []
    newest = again.checkpoints.newest
    assert (newest.name, newest.path) == ("checkpoint", "checkpoints/00002-b.ckpt")
    content = (tmp_path / newest.path).read_bytes()
    assert (newest.size, newest.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_early_stopping_stays_stopped(tokens, tmp_path):
    settings = {
        "epochs": 50,
        "early_stopping": {"patience": 2},
        "optimizer": {"type": "adam", "learning_rate": 0.1},
    }
    first = trainer(tokens, tmp_path, **settings)
    expected = first.fit()
    again = trainer(tokens, tmp_path, attempt="b", **settings)
    history, epochs, _ = fit(again)
    assert epochs == []
    assert without_times(history) == without_times(expected)
    assert_same_weights(first.model, again.model)


def test_checkpoints_in_an_object_store(tokens, whole, tmp_path):
    root = files.resolve(f"memory://{tmp_path.name}-checkpoints")
    with listening(kill_after(2)), pytest.raises(KilledError):
        trainer(tokens, root, epochs=4).fit()
    resumed = trainer(tokens, root, attempt="b", epochs=4)
    assert fit(resumed)[1] == [3, 4]
    assert checkpoints(root) == ["00001-a.ckpt", "00002-a.ckpt", "00003-b.ckpt", "00004-b.ckpt"]
    assert_same_weights(whole[0].model, resumed.model)


def test_no_pickle_is_read(tokens, tmp_path):
    """A checkpoint with a right checksum is read, but no code from it."""
    trainer(tokens, tmp_path, epochs=1).fit()
    evil = npz(history=np.array([object()], object))
    (tmp_path / "checkpoints" / "00002-a.ckpt").write_bytes(with_checksum(evil))
    _, epochs, said = fit(trainer(tokens, tmp_path, attempt="b", epochs=2))
    assert epochs == [2]
    assert "allow_pickle=False" in said[0]
