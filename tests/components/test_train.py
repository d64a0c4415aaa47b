"""The training loop: losses, schedules, early stopping and scheduled sampling."""

import keras
import numpy as np
import pytest
from tiny_training import HARD, data, make_pairs, make_texts, trainer, without_times

from components.errors import UserError
from components.train.config import ScheduledSampling
from components.train.losses import CrossEntropy
from components.train.sampling import TeacherForcing


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


def test_the_seed_decides_everything(tokens, tmp_path):
    first, again, other = (
        without_times(trainer(tokens, tmp_path / name, seed=seed, epochs=2).fit())
        for name, seed in [("a", 3), ("b", 3), ("c", 4)]
    )
    assert first == again
    assert first != other


def test_early_stopping_ends_and_keeps_the_best_weights(tokens, tmp_path):
    stopping = trainer(
        tokens,
        tmp_path,
        epochs=50,
        early_stopping={"patience": 2},
        optimizer={"type": "adam", "learning_rate": 0.1},
    )
    history = stopping.fit()
    losses = [epoch["val_loss"] for epoch in history["epochs"]]
    assert len(losses) < 50
    assert history["best_epoch"] == int(np.argmin(losses)) + 1
    assert len(losses) == history["best_epoch"] + 2
    batches = data(tokens, "validation").batches(stopping.boundaries)
    assert stopping.model.evaluate(batches, verbose=0)[0] == pytest.approx(min(losses), rel=1e-5)


def test_label_smoothing_by_hand():
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(2, 3, 5)).astype("float32"), random.integers(5, size=(2, 3))
    weights = np.array([[1, 1, 0], [1, 0, 0]], "float32")
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = 0.7 * np.eye(5)[targets] + 0.3 / 5
    loss = CrossEntropy(0.3)
    smoothed, plain = (
        -((expected * log_probs).sum(axis=-1) * weights).sum() / 3
        for expected in (expected, np.eye(5)[targets])
    )
    np.testing.assert_allclose(loss(targets, logits, weights), smoothed, rtol=1e-5)
    with loss.plain():
        np.testing.assert_allclose(loss(targets, logits, weights), plain, rtol=1e-5)
    np.testing.assert_allclose(loss(targets, logits, weights), smoothed, rtol=1e-5)
    np.testing.assert_allclose(CrossEntropy()(targets, logits, weights), plain, rtol=1e-5)
    assert loss(targets, logits, 0 * weights) == 0
    assert CrossEntropy.from_config(loss.get_config()).label_smoothing == 0.3


def test_the_training_loss_is_smoothed_and_the_validation_loss_is_not(tokens, tmp_path):
    smoothed = trainer(
        tokens,
        tmp_path,
        epochs=1,
        label_smoothing=0.99,
        global_clipnorm=None,
        optimizer={"type": "sgd", "learning_rate": 1e-9},
    )
    # Far from even, so that smoothing costs much.
    smoothed.model.readout.bias.assign([-5, 5])
    (epoch,) = smoothed.fit()["epochs"]
    smoothed.model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    )
    batches = data(tokens, "validation").batches(smoothed.boundaries)
    plain = smoothed.model.evaluate(batches, verbose=0, return_dict=True)
    assert epoch["val_loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert epoch["loss"] == pytest.approx(5, abs=0.3)


def forcing(seed=3, steps=101, **settings):
    optimizer = keras.optimizers.SGD()
    return TeacherForcing(ScheduledSampling.model_validate(settings), steps, optimizer, seed), optimizer


@pytest.mark.parametrize(
    ("schedule", "quarter", "half"),
    [
        ("linear", 0.8, 0.6),
        ("exponential", 0.2**0.25, 0.2**0.5),
        # 1 - 0.8 (1 / (1 + e^-5) - 1 / (1 + e^-2.5)) / (1 / (1 + e^-5) - 1 / (1 + e^5))
        ("inverse_sigmoid", 0.9439, 0.6),
    ],
)
def test_teacher_forcing_falls_with_the_training_step(schedule, quarter, half):
    ratio = forcing(end=0.2, schedule=schedule)[0].ratio
    actual = [float(ratio(step)) for step in (0, 25, 50, 100, 1000)]
    assert actual == pytest.approx([1, quarter, half, 0.2, 0.2], abs=1e-4)
    values = [float(ratio(step)) for step in range(101)]
    assert values == sorted(values, reverse=True)


def test_forced_tokens_are_drawn_by_seed_and_step():
    drawn, optimizer = forcing(start=0.3, end=0.3)
    first = drawn([50, 100])
    assert np.mean(first) == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(first, drawn([50, 100]))
    assert (np.asarray(forcing(seed=4, start=0.3, end=0.3)[0]([50, 100])) != np.asarray(first)).any()
    optimizer.iterations.assign(1)
    assert (np.asarray(drawn([50, 100])) != np.asarray(first)).any()


def test_teacher_forcing_is_no_part_of_the_model(pairs, tmp_path):
    plain = trainer(pairs, tmp_path / "plain", model=HARD)
    sampled = trainer(pairs, tmp_path / "sampled", model=HARD, teacher_forcing_ratio=0.5)
    assert plain.model.draw_forced is None
    assert sampled.model.draw_forced is not None
    assert len(plain.model.variables) == len(sampled.model.variables)


def test_clipping_bounds_the_step(tokens, tmp_path):
    clipped = trainer(
        tokens, tmp_path, epochs=1, global_clipnorm=1e-6, optimizer={"type": "sgd", "learning_rate": 1.0}
    )
    before = clipped.model.get_weights()
    clipped.fit()
    moved = np.sqrt(
        sum(
            np.sum((a - b) ** 2)
            for a, b in zip(before, clipped.model.get_weights(), strict=True)
            if a.dtype != "int64"
        )
    )
    assert 0 < moved <= 1e-6 * clipped.steps * 1.01


def test_the_cosine_schedule_ends_at_zero(tokens, tmp_path):
    annealed = trainer(
        tokens,
        tmp_path,
        epochs=2,
        learning_rate_schedule="cosine",
        optimizer={"type": "sgd", "learning_rate": 0.5},
    )
    rate = annealed.model.optimizer
    assert float(rate.learning_rate) == pytest.approx(0.5)
    rate.iterations.assign(annealed.steps)
    assert float(rate.learning_rate) == pytest.approx(0.25)
    rate.iterations.assign(2 * annealed.steps)
    assert float(rate.learning_rate) == pytest.approx(0.0, abs=1e-7)


def test_a_loss_that_is_no_number_stops_the_training(tokens, tmp_path):
    broken = trainer(
        tokens,
        tmp_path,
        epochs=5,
        global_clipnorm=None,
        optimizer={"type": "sgd", "learning_rate": 1e38},
    )
    with pytest.raises(UserError, match=r"loss became .* Lower train.optimizer.learning_rate \(now 1e\+38\)"):
        broken.fit()
