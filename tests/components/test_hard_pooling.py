"""Tests of the classifier's hard attention pooling."""

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from components.models.build import build_model
from components.models.config import ModelConfig, readout_problem
from components.models.pooling import HardAttentionPooling
from components.train.config import TrainConfig
from components.train.loop import compile_model

TEXTS = np.array([[4, 5, 6, 7], [8, 9, 0, 0], [10, 0, 0, 0], [0, 0, 0, 0]], "int32")
LABELS = np.array([0, 1, 2, 0])


def make(**pooling):
    config = ModelConfig.model_validate(
        {
            "embedding_size": 6,
            "encoder": {"type": "gru", "units": 5},
            "pooling": {"type": "hard_attention", **pooling},
        }
    )
    return build_model(config, "classification", {"text": 11, "label": 3})


def compiled(learning_rate=1.0, **pooling):
    model = make(**pooling)
    optimizer = {"type": "sgd", "learning_rate": learning_rate}
    compile_model(
        model,
        TrainConfig.model_validate(
            {"optimizer": optimizer, "global_clipnorm": None, "learning_rate_schedule": "constant"}
        ),
        steps=1,
    )
    return model


def cross_entropy(logits, weights=None):
    log_probs = np.asarray(keras.ops.log_softmax(logits))[np.arange(len(LABELS)), LABELS]
    return np.average(-log_probs, weights=weights)


def test_a_text_is_one_of_its_steps():
    model = make()
    encoded, _ = model.encoder(model.embedding(TEXTS), mask=TEXTS != 0)
    pooled = np.asarray(model.features(TEXTS))
    for row, length in enumerate([4, 2, 1]):
        assert any(np.allclose(pooled[row], step) for step in np.asarray(encoded)[row, :length])
    assert (pooled[3] == 0).all()
    wide = np.pad(TEXTS, [(0, 0), (0, 3)])
    np.testing.assert_allclose(model(wide), model(TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"estimator": "reinforce", "entropy": 0.1, "baseline_decay": 0.8},
        {
            "estimator": "straight_through",
            "temperature": 2.0,
            "min_temperature": 0.1,
            "temperature_decay": 0.9,
        },
    ],
    ids=lambda settings: settings["estimator"],
)
def test_settings_reach_the_layer_and_the_saved_model(settings, tmp_path):
    settings = {**settings, "soft_mixing": 0.25}
    model = make(**settings)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        assert settings.items() <= each.attention_pooling.selection.get_config().items()
        np.testing.assert_array_equal(each(TEXTS), model(TEXTS))


@pytest.mark.parametrize("estimator", ["reinforce", "straight_through"])
def test_the_loss_is_that_of_the_texts_as_chosen(estimator):
    """Training says what its samples cost, without what only has a gradient; evaluation samples nothing."""
    weights = np.array([1.0, 1.0, 2.0, 0.0])
    model = compiled(learning_rate=1e-20, estimator=estimator, soft_mixing=0.0)
    encoded, _ = model.encoder(model.embedding(TEXTS), mask=TEXTS != 0)
    answers = np.asarray(model.readout(encoded))
    costs = np.array(
        [
            cross_entropy(np.stack([answers[0, i], answers[1, j], answers[2, 0], answers[2, 0]]), weights)
            for i in range(4)
            for j in range(2)
        ]
    )
    seen = set()
    for _ in range(30):
        distances = np.abs(costs - model.train_on_batch(TEXTS, LABELS, weights)[0])
        model.reset_metrics()
        assert distances.min() < 1e-6
        seen.add(int(distances.argmin()))
    assert len(seen) > 2
    np.testing.assert_allclose(
        model.test_on_batch(TEXTS, LABELS, weights)[0], cross_entropy(model(TEXTS), weights), rtol=1e-6
    )


def test_reinforce_teaches_the_scores():
    """A step whose cost is above the baseline becomes less likely, as the choice's gradient says."""
    import tensorflow as tf

    model = compiled(soft_mixing=0.0, entropy=0.0, baseline_decay=0.5)
    pooling = model.attention_pooling
    pooling.selection.average_loss.assign(0.3)
    pooling.selection.average_count.assign(2.0)
    weights = np.array([1.0, 2.0, 1.0, 0.0], "float32")
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(TEXTS, training=True)
        logits, log_probs = outputs["logits"], outputs["log_probs"]
        loss = model.compute_loss(TEXTS, LABELS, outputs, weights)
        costs = keras.losses.sparse_categorical_crossentropy(LABELS, logits, from_logits=True)
        credits = tf.stop_gradient(weights * (costs - 0.15)) * log_probs
        expected = tf.reduce_sum(weights * costs + credits) / 4
    assert (log_probs.numpy()[[2, 3]] == 0).all()
    variables = [weight.value for weight in model.trainable_weights]
    for one, other in zip(tape.gradient(loss, variables), tape.gradient(expected, variables), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(one), tf.convert_to_tensor(other), atol=1e-6)
    assert np.abs(tape.gradient(loss, pooling.score.value)).max() > 1e-4
    # The row of weight 0 counts for nothing.
    batch = [float(np.sum(weights * costs)), 4.0]
    averages = [pooling.selection.average_loss, pooling.selection.average_count]
    np.testing.assert_allclose(averages, [(0.3 + batch[0]) / 2, (2 + batch[1]) / 2], rtol=1e-6)
    # Nothing is chosen by chance outside of training, and nothing counts there or without choices.
    assert not isinstance(model(TEXTS), dict)
    np.testing.assert_allclose(model.compute_loss(TEXTS, LABELS, logits, weights), loss)
    np.testing.assert_allclose(model.compute_loss(TEXTS, LABELS, outputs, weights, training=False), loss)
    np.testing.assert_allclose(averages, [(0.3 + batch[0]) / 2, (2 + batch[1]) / 2], rtol=1e-6)


@pytest.mark.parametrize("estimator", ["reinforce", "straight_through"])
def test_it_learns_which_step_matters(estimator):
    """The label is the one token above 3 among noise, which the last step of a plain RNN would forget."""
    draw = np.random.default_rng(0)
    keras.utils.set_random_seed(1)
    texts = draw.integers(1, 4, size=(512, 8)).astype("int32")
    labels = draw.integers(0, 3, size=512)
    texts[np.arange(512), draw.integers(0, 8, size=512)] = 4 + labels
    config = {
        "embedding_size": 6,
        "encoder": {"type": "text_cnn", "filters": 8, "kernel_sizes": [1]},
        "pooling": {"type": "hard_attention", "estimator": estimator},
    }
    model = build_model(ModelConfig.model_validate(config), "classification", {"text": 7, "label": 3})
    optimizer = {"type": "adam", "learning_rate": 0.03}
    compile_model(
        model,
        TrainConfig.model_validate({"optimizer": optimizer, "learning_rate_schedule": "constant"}),
        steps=1,
    )
    model.fit(texts, labels, sample_weight=np.ones(512), batch_size=32, epochs=8, verbose=0)
    assert model.evaluate(texts, labels, sample_weight=np.ones(512), verbose=0)[1] > 0.95


def test_a_closed_form_readout_would_leave_it_untrained():
    config = {
        "encoder": {"type": "echo_state_rnn", "units": 5},
        "readout": {"type": "ridge"},
        "pooling": {"type": "hard_attention"},
    }
    problem = readout_problem(ModelConfig.model_validate(config), "classification")
    assert "with attention pooling, which would stay untrained" in problem


def test_temperatures_that_would_rise_are_refused():
    with pytest.raises(ValidationError, match=r"temperature received 1.0, expected at least min_temp"):
        HardAttentionPooling(type="hard_attention", min_temperature=2.0)
