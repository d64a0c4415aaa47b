"""Trainings on two logical CPU devices, which a process must have before TensorFlow starts.

`test_train_mirrored.py` runs these tests in such a process.
"""

import tensorflow as tf

(CPU,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from tiny_training import (  # noqa: E402
    HARD,
    PLAIN,
    KilledError,
    assert_same_weights,
    data,
    kill_after_validation,
    make_pairs,
    make_raw,
    make_texts,
    monitored,
    train,
    without_times,
)

from components import files  # noqa: E402
from components.errors import UserError  # noqa: E402
from components.models.build import build_model  # noqa: E402
from components.models.config import ModelConfig  # noqa: E402
from components.reports import listening  # noqa: E402
from components.train.checkpoint import Checkpoints  # noqa: E402
from components.train.class_weight import label_weights  # noqa: E402
from components.train.config import TrainConfig  # noqa: E402
from components.train.devices import training_strategy  # noqa: E402
from components.train.loop import Trainer  # noqa: E402
from components.train.scope import training_scope  # noqa: E402

SGD = {"type": "sgd", "learning_rate": 0.5}


def classifier(encoder="gru", **model):
    return ModelConfig.model_validate(
        {"embedding_size": 8, "encoder": {"type": encoder, "units": 8}, "pooling": "max", **model}
    )


def translator(attention="bahdanau", cell="gru", **model):
    attention = attention if isinstance(attention, dict) else {"type": attention}
    layers = {"encoder": {"type": cell, "units": 8}, "decoder": {"type": cell, "units": 8}}
    return ModelConfig.model_validate({"embedding_size": 8, "attention": attention, **layers, **model})


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def fit(texts, pairs, tmp_path):
    """Trains without the stage; returns the epochs and the model."""

    def fit(model, devices, folder="", epochs=2, **settings):
        settings = {**PLAIN, "batch_size": 8, "length_buckets": 3, "epochs": epochs, **settings}
        config = TrainConfig.model_validate({**settings, "devices": devices})
        task = "seq2seq" if model.decoder else "classification"
        tokens = pairs if model.decoder else texts
        place = files.resolve(tmp_path / (folder or str(devices)))
        splits = [
            data(tokens, split, config.batch_size, config.length_buckets, task)
            for split in ("train", "validation")
        ]
        splits[0].label_weights = label_weights(config.class_weight, tokens)
        strategy = training_strategy(devices)
        with training_scope(3, config.precision):
            with strategy.scope():
                made = build_model(model, task, {"text": 10, "label": 2, "source": 10, "target": 10})
            checkpoints = Checkpoints(place, place / "checkpoints", "a")
            history = Trainer(made, config, *splits, 3, checkpoints, None, strategy).fit()
        return without_times(history), made

    return fit


CURVES = {
    # 120 texts in batches of 7, the last of which has one: nothing is left for the second device.
    "classifier": (classifier(), {"batch_size": 7, "length_buckets": 1}),
    "weighted": (
        classifier(),
        {"batch_size": 7, "length_buckets": 1, "class_weight": {"yes": 9.0}, "loss": "focal"},
    ),
    "convolutions": (
        classifier("cnn_lstm", pooling="attention"),
        {"optimizer": {"type": "adamw", "weight_decay": 0.1}, "label_smoothing": 0.1},
    ),
    "clipped": (translator(cell="lstm"), {"batch_size": 7, "optimizer": SGD, "global_clipnorm": 0.05}),
    "not clipped": (translator("luong"), {"optimizer": SGD, "global_clipnorm": None}),
    "monotonic": (
        translator({"type": "monotonic", "noise": 0.0}, tied_softmax=True),
        {"validate_every": {"steps": 5}, "learning_rate_schedule": "cosine"},
    ),
    "half precision": (translator("luong"), {"precision": "mixed_float16"}),
}


@pytest.mark.parametrize("case", CURVES)
def test_the_curve_is_that_of_one_device(fit, case):
    model, settings = CURVES[case]
    (one, first), (two, second) = (fit(model, devices, **settings) for devices in (1, 2))
    assert len(one) == 2
    for epoch, same in zip(one, two, strict=True):
        assert same == pytest.approx(epoch, abs=1e-5)
    exact = settings.get("precision") is None
    for value, same in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(same, value, atol=1e-5 if exact else 1e-3)


def test_both_devices_are_at_work(fit):
    """Rows of the batch by device: an encoder that notes how many rows it sees."""
    seen = {}

    class Noting(keras.layers.GRU):
        def call(self, sequences, *arguments, **keywords):
            replica = tf.distribute.get_replica_context()
            if replica and tf.distribute.has_strategy():
                tf.numpy_function(
                    lambda number, rows: seen.setdefault(int(number), []).append(int(rows)),
                    [replica.replica_id_in_sync_group, tf.shape(sequences)[0]],
                    [],
                )
            return super().call(sequences, *arguments, **keywords)

    class NotingEncoder(type(classifier().encoder)):
        type: str = "noting"

        def layer(self):
            return Noting(self.units)

    model = classifier().model_copy(update={"encoder": NotingEncoder(type="noting", units=8)})
    fit(model, 2, epochs=1, batch_size=7, length_buckets=1)
    assert set(seen) == {0, 1}
    # 120 rows of training and 30 of validation in batches of 7, the last ones of 1 and 2.
    assert sorted(seen[0]) == [1] * 2 + [4] * 21
    assert sorted(seen[1]) == [1] * 2 + [3] * 21


DRAWS = {
    "classifier": (classifier(dropout=0.3), {}),
    "translator": (
        translator({"type": "hard", "estimator": "straight_through"}, dropout=0.3),
        {"teacher_forcing_ratio": 0.5},
    ),
}


@pytest.mark.parametrize("case", DRAWS)
def test_a_killed_training_goes_on_to_the_same_bits(fit, case):
    """Killed within its first epoch, whatever it draws at random."""
    model, settings = DRAWS[case]
    settings = {**settings, "validate_every": {"steps": 3}}
    whole, expected = fit(model, 2, "whole", **settings)
    with listening(kill_after_validation()), pytest.raises(KilledError):
        fit(model, 2, "killed", **settings)
    resumed, killed = fit(model, 2, "killed", **settings)
    assert resumed == whole
    assert_same_weights(expected, killed)


def test_a_checkpoint_of_two_devices_is_one_of_one(fit):
    whole, _ = fit(classifier(), 1, "whole")
    fit(classifier(), 2, "shared", epochs=1)
    resumed, _ = fit(classifier(), 1, "shared")
    for epoch, same in zip(whole, resumed, strict=True):
        assert same == pytest.approx(epoch, abs=1e-5)


def test_the_devices_draw_different_masks(fit):
    _, model = fit(classifier(dropout=0.3), 2, epochs=1)
    states = [each for each in model.non_trainable_variables if each.name == "seed_generator_state"]
    assert states
    for state in states:
        own = training_strategy(2).experimental_local_results(state.value)
        (seed, drawn), other = (value.numpy().tolist() for value in own)
        assert other == [seed + 1, drawn]
    assert any(state.numpy()[1] > 0 for state in states)


def test_the_stage_makes_the_same_model_on_two_devices(texts, tmp_path):
    """As a file that has no trace of the devices; with a monitor, which answers texts between the epochs."""
    raw = make_raw(tmp_path / "raw", "classification")
    options = {"epochs": 1, "monitor": "accuracy"}
    one, *two = (
        monitored(texts, raw, tmp_path / name, classifier(), devices=devices, **options)
        for name, devices in (("one", 1), ("two", 2), ("again", 2), ("all", "all"))
    )
    assert [each.read("model.keras") for each in two[1:]] == [two[0].read("model.keras")] * 2
    assert {each.summary["weights"] for each in two} == {two[0].summary["weights"]}
    for epoch, same in zip(without_times(one.history()), without_times(two[0].history()), strict=True):
        assert same == pytest.approx(epoch, abs=1e-5)
    inputs = np.asarray([[4, 5, 6, 0], [7, 8, 4, 7]])
    models = [keras.models.load_model(each.model_file(), compile=False) for each in (one, two[0])]
    np.testing.assert_allclose(models[0](inputs), models[1](inputs), atol=1e-5)
    assert not any("Mirrored" in type(variable.value).__name__ for variable in models[1].variables)


def test_reinforce_is_refused(pairs, tmp_path):
    with pytest.raises(UserError, match=r"train\.devices: received 2 .* reinforce, .* expected 1"):
        train(pairs, tmp_path, model=HARD, task="seq2seq", devices=2)


def test_more_devices_than_there_are_are_refused(texts, tmp_path):
    with pytest.raises(UserError, match=r"train\.devices: received 3, but .* has no GPU; expected at most 2"):
        train(texts, tmp_path, devices=3)
