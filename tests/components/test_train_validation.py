"""Validations within epochs: what they measure, and that a training goes on from each of them."""

import hashlib
import io

import numpy as np
import pytest
from tiny_training import (
    HARD,
    KilledError,
    assert_same_weights,
    checkpoints,
    data,
    kill_after_validation,
    make_pairs,
    make_texts,
    trainer,
    without_times,
)

from components.reports import EpochFinished, Progress, Warned, listening


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


def by_chance(model):
    """Any number from 0 to 1, decided by the weights."""
    digest = hashlib.sha256(
        b"".join(np.ascontiguousarray(weights).tobytes() for weights in model.get_weights())
    )
    return int(digest.hexdigest()[:8], 16) / 16**8


def newest(root):
    """Everything that the newest checkpoint holds, without the times."""
    name = checkpoints(root)[-1]
    packed = (root / "checkpoints" / name).read_bytes().partition(b"\n")[2]
    with np.load(io.BytesIO(packed)) as arrays:
        return {key: arrays[key] for key in arrays.files if key not in ("history", "seconds")}


SETTINGS = {
    "cosine": {"learning_rate_schedule": "cosine", "label_smoothing": 0.1, "validate_every": {"steps": 3}},
    "stopped": {
        "early_stopping": {"patience": 3},
        "monitor": "macro_f1",
        "measure": by_chance,
        "validate_every": {"steps": 1},
    },
    "plateau": {
        "learning_rate_schedule": {"type": "plateau", "warmup_steps": 3, "factor": 0.5},
        "monitor": "macro_f1",
        "measure": by_chance,
        "validate_every": {"steps": 4},
    },
    "reduced": {
        "learning_rate_schedule": "plateau",
        "optimizer": {"type": "sgd", "momentum": 0.9},
        "monitor": "calibration_error",
        "measure": by_chance,
        "validate_every": {"steps": 4},
    },
    "sampled": {
        "epochs": 1,
        "model": HARD,
        "teacher_forcing_ratio": {"end": 0.2},
        "validate_every": {"steps": 3},
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_killed_after_every_validation_ends_as_if_nothing_had_been(tokens, pairs, tmp_path, name):
    settings = {"epochs": 2, **SETTINGS[name]}
    tokens = pairs if "model" in settings else tokens
    whole = trainer(tokens, tmp_path / "whole", **settings)
    expected = whole.fit()
    assert len(expected["validations"]) > len(expected["epochs"])
    kills = 0
    while True:
        resumed = trainer(tokens, tmp_path / "killed", attempt=f"b{kills:02}", **settings)
        try:
            with listening(kill_after_validation()):
                history = resumed.fit()
            break
        except KilledError:
            kills += 1
    # The one that ends a training by early stopping is reported as the end of its epoch.
    assert kills == len(expected["validations"])
    assert without_times(history) == without_times(expected)
    assert history["validations"] == expected["validations"]
    assert (history["best_epoch"], history["best_step"]) == (expected["best_epoch"], expected["best_step"])
    assert_same_weights(whole.model, resumed.model)
    ours, theirs = newest(tmp_path / "killed"), newest(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key], err_msg=key)
    assert resumed.kept() == whole.kept()


def test_validations_within_epochs_leave_the_training_as_it_is(tokens, tmp_path):
    plain = trainer(tokens, tmp_path / "plain", epochs=2)
    often = trainer(tokens, tmp_path / "often", epochs=2, validate_every={"steps": 3})
    expected, history = plain.fit(), often.fit()
    assert without_times(history) == without_times(expected)
    assert_same_weights(plain.model, often.model)
    at = [each["step"] for each in history["validations"]]
    length = plain.steps
    assert at == sorted({*range(3, 2 * length, 3), length, 2 * length})
    assert [each["step"] for each in expected["validations"]] == [length, 2 * length]
    assert [each["epoch"] for each in history["validations"]] == [1 + (step - 1) // length for step in at]
    assert history["steps_per_epoch"] == length


def test_a_validation_within_an_epoch_is_one_of_the_model_as_it_is_then(tokens, tmp_path):
    """By hand: the weights of the checkpoint, evaluated by Keras."""
    validated = []

    def kill(event):
        if isinstance(event, Progress) and "validated at step 5" in event.message:
            validated.append(event)
            raise KilledError

    first = trainer(tokens, tmp_path, epochs=2, validate_every={"steps": 5})
    with listening(kill), pytest.raises(KilledError):
        first.fit()
    assert checkpoints(tmp_path) == ["00000.0000005-a.ckpt"]
    values = first.model.evaluate(
        data(tokens, "validation").batches(first.boundaries), verbose=0, return_dict=True
    )
    assert f"val_loss {values['loss']:.4f}" in validated[0].message
    assert (validated[0].done, validated[0].total) == (5, 2 * first.steps)
    resumed = trainer(tokens, tmp_path, attempt="b", epochs=2, validate_every={"steps": 5})
    events = []
    with listening(events.append):
        history = resumed.fit()
    said = [event.message for event in events if isinstance(event, Warned)]
    assert said == ["going on after epoch 0 and 5 steps of an earlier run"]
    entry = history["validations"][0]
    assert (entry["step"], entry["epoch"]) == (5, 1)
    assert entry["val_loss"] == pytest.approx(values["loss"], rel=1e-6)


def test_patience_counts_validations_and_may_end_within_an_epoch(tokens, tmp_path):
    values = iter([0.5, 0.9, 0.8, 0.7, 0.6])
    stopping = trainer(
        tokens,
        tmp_path,
        epochs=9,
        monitor="macro_f1",
        measure=lambda _: next(values),
        early_stopping={"patience": 3},
        validate_every={"steps": 3},
    )
    assert stopping.steps == 9  # validations after 3, 6, 9, 12, 15
    events = []
    with listening(events.append):
        history = stopping.fit()
    assert [each["val_macro_f1"] for each in history["validations"]] == [0.5, 0.9, 0.8, 0.7, 0.6]
    assert [each["epoch"] for each in history["epochs"]] == [1, 2]
    assert history["epochs"][1]["val_macro_f1"] == 0.6
    assert (history["best_epoch"], history["best_step"]) == (1, 6)
    assert (stopping.kept()["epoch"], stopping.kept()["step"]) == (1, 6)
    finished = [event for event in events if isinstance(event, EpochFinished)]
    assert [event.metrics["val_macro_f1"] for event in finished] == [0.8, 0.6]
    again = trainer(
        tokens,
        tmp_path,
        attempt="b",
        epochs=20,
        monitor="macro_f1",
        measure=lambda _: pytest.fail("it was measured again"),
        early_stopping={"patience": 3},
        validate_every={"steps": 3},
    )
    assert again.fit() == history
    assert_same_weights(stopping.model, again.model)


def test_fewer_epochs_take_nothing_of_a_later_one_that_has_begun(tokens, tmp_path):
    def kill(event):
        if isinstance(event, Progress) and "epoch 2/3, validated at step" in event.message:
            raise KilledError

    settings = {"validate_every": {"steps": 5}}
    with listening(kill), pytest.raises(KilledError):
        trainer(tokens, tmp_path, epochs=3, **settings).fit()
    assert [name[:13] for name in checkpoints(tmp_path)] == ["00001-a.ckpt", "00001.0000001"]
    one = trainer(tokens, tmp_path, attempt="b", epochs=1, **settings)
    assert len(one.fit()["validations"]) == 2
    whole = trainer(tokens, tmp_path / "whole", epochs=1, **settings)
    whole.fit()
    assert_same_weights(whole.model, one.model)
