import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_training
from made_artifacts import make_tokens
from sklearn.utils.class_weight import compute_class_weight
from tiny_training import MODEL, TOKENIZER

from components.errors import UserError
from components.train.accuracy import Accuracy
from components.train.class_weight import label_weights
from components.train.config import TrainConfig
from components.train.dataset import TokenData
from components.train.losses import CrossEntropy, FocalCrossEntropy, training_loss

LABELS = ["common", "rare", "unseen"]
COMMON, RARE = 30, 6


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    random = np.random.default_rng(2)

    def rows(common, rare):
        numbers = random.permutation([0] * common + [1] * rare)
        return [(random.integers(4, 10, 5), int(number)) for number in numbers]

    splits = {"train": [rows(20, 2), rows(COMMON - 20, RARE - 2)], "validation": [rows(5, 5)]}
    root = tmp_path_factory.mktemp("tokens")
    return make_tokens(root, "classification", splits, {"text": TOKENIZER}, LABELS)


def test_balanced_weights_are_those_of_scikit_learn_and_a_label_without_examples_weighs_1(tokens):
    numbers = np.array([0] * COMMON + [1] * RARE)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=numbers)
    np.testing.assert_allclose(label_weights("balanced", tokens), [*expected, 1], rtol=1e-6)


def test_named_weights_leave_the_other_labels_at_1(tokens):
    assert label_weights({"rare": 4.5}, tokens).tolist() == [1, 4.5, 1]
    assert label_weights(None, tokens) is None


def test_an_unknown_label_names_the_known_ones(tokens):
    with pytest.raises(UserError, match=r"a weight for 'Rare', expected .*: 'common', 'rare', 'unseen'"):
        label_weights({"Rare": 2.0, "common": 1.0}, tokens)


def test_training_batches_carry_the_weights_and_validation_has_none(tokens):
    weights = np.array([0.5, 3, 1], np.float32)
    split = TokenData(tokens, "train", "classification", 8, 2, weights)
    for _, targets, carried in split.batches(split.boundaries()):
        np.testing.assert_array_equal(carried, weights[targets])
    watched = tiny_training.data(tokens, "validation")
    assert all((carried.numpy() == 1).all() for *_, carried in watched.batches(watched.boundaries()))


def test_the_stage_weighs_the_training_loss_and_nothing_else(tokens, tmp_path):
    """With a learning rate of nearly nothing the figures are those of the weights in the model."""
    settings = {"epochs": 1, "batch_size": 64, "length_buckets": 1, "global_clipnorm": None}
    settings["optimizer"] = {"type": "sgd", "learning_rate": 1e-9}
    model = MODEL.model_copy(
        update={"dropout": 0.0, "encoder": MODEL.encoder.model_copy(update={"dropout": 0.0})}
    )
    weighed = {"common": 0.25, "rare": 5.0}
    artifact = tiny_training.train(tokens, tmp_path, model=model, class_weight=weighed, **settings)
    (epoch,) = artifact.history()["epochs"]
    fitted = keras.models.load_model(artifact.model_file())
    figures = {}
    for split in ("train", "validation"):
        data = tiny_training.data(tokens, split, batch_size=64, buckets=1)
        ((texts, targets, _),) = data.batches([])
        logits, targets = np.float64(fitted(texts)), targets.numpy()
        losses = np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(len(targets)), targets]
        figures[split] = losses, targets, (logits.argmax(axis=-1) == targets).mean()
    losses, targets, accuracy = figures["train"]
    weights = np.array([0.25, 5, 1])[targets]
    np.testing.assert_allclose(epoch["loss"], (weights * losses).sum() / weights.sum(), rtol=1e-4)
    np.testing.assert_allclose(epoch["accuracy"], accuracy, rtol=1e-6)
    losses, _, accuracy = figures["validation"]
    np.testing.assert_allclose(epoch["val_loss"], losses.mean(), rtol=1e-4)
    np.testing.assert_allclose(epoch["val_accuracy"], accuracy, rtol=1e-6)


def test_accuracy_counts_what_has_a_weight_once():
    accuracy = Accuracy(name="accuracy")
    logits = np.array([[2, 1], [2, 1], [0, 1], [0, 1]], "float32")
    accuracy.update_state(np.array([0, 1, 1, 1]), logits, np.array([9, 0.1, 2, 0], "float32"))
    assert float(accuracy.result()) == pytest.approx(2 / 3)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_and_its_gradient_are_those_of_the_paper(gamma):
    """Equations 4 and appendix B of Lin et al. (2017), for the softmax instead of the sigmoid."""
    random = np.random.default_rng(3)
    logits, targets = random.normal(size=(6, 4)) * 3, random.integers(4, size=6)
    weights = random.uniform(0.1, 2, size=6)
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    p = chances[np.arange(6), targets]
    expected = (-((1 - p) ** gamma) * np.log(p) * weights).sum() / weights.sum()
    # d/dp of the loss, times dp/dlogits = p * (one hot - probabilities).
    slope = gamma * (1 - p) ** (gamma - 1) * np.log(p) - (1 - p) ** gamma / p
    gradient = (weights * slope * p)[:, None] * (np.eye(4)[targets] - chances) / weights.sum()
    loss, given = FocalCrossEntropy(gamma), tf.Variable(logits, dtype="float32")
    with tf.GradientTape() as tape:
        value = loss(targets, given, weights.astype("float32"))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(tape.gradient(value, given), gradient, rtol=1e-3, atol=1e-6)
    plain = CrossEntropy()(targets, given, weights.astype("float32"))
    with loss.plain():
        np.testing.assert_allclose(loss(targets, given, weights.astype("float32")), plain, rtol=1e-5)
    np.testing.assert_allclose(loss(targets, given, weights.astype("float32")), expected, rtol=1e-4)
    assert FocalCrossEntropy.from_config(loss.get_config()).gamma == gamma


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_of_certain_answers_has_a_finite_gradient(gamma):
    logits = tf.Variable([[60.0, 0.0], [0.0, 60.0]])
    with tf.GradientTape() as tape:
        value = FocalCrossEntropy(gamma)(np.array([0, 0]), logits)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, logits)).all()


def test_the_configuration_chooses_the_loss():
    focal = TrainConfig.model_validate({"loss": {"type": "focal", "gamma": 3.0}})
    assert training_loss(focal).get_config() == {"gamma": 3.0}
    assert training_loss(TrainConfig.model_validate({"loss": "focal"})).get_config() == {"gamma": 2.0}
    smoothed = TrainConfig.model_validate({"loss": "cross_entropy", "label_smoothing": 0.2})
    assert training_loss(smoothed).get_config() == {"label_smoothing": 0.2}
    with pytest.raises(ValueError, match=r"label_smoothing received .* for a focal loss"):
        TrainConfig.model_validate({"loss": "focal", "label_smoothing": 0.2})
