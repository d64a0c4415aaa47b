"""What the train stage computes as sums over parts: document frequencies, and readouts in closed form."""

import keras
import numpy as np
import pytest
import tiny_training
from hypothesis import given, settings
from hypothesis import strategies as st
from made_artifacts import make_tokens
from sklearn.linear_model import Ridge
from stage_runner import run_transform
from tiny_training import TOKENIZER

from components import files
from components.artifacts.artifact import local_file
from components.errors import UserError
from components.models.config import ModelConfig
from components.reports import EpochFinished, Progress, Warned, listening
from components.train.config import TrainConfig
from components.train.readout import SumRidge
from components.train.transform import Train, Trial, train_here
from components.work import Work

RIDGES = [1e-3, 1e-1, 10.0]
RESERVOIR = {
    "embedding_size": 4,
    "encoder": {"type": "echo_state_rnn", "units": 20, "bidirectional": True},
    "pooling": "mean",
    "readout": {"type": "ridge", "alphas": RIDGES},
}
TFIDF = {"encoder": {"type": "tfidf", "units": 4, "ngrams": 2, "hash_bins": 50}}


def examples(count, seed):
    """Texts of 0 to 10 letters; the label says which of two letters comes more often."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        text = random.integers(4, 10, random.integers(0, 11))
        yield text, int(np.sum(text == 4) > np.sum(text == 5))


def write(root, train_parts=1, validation=40, task="classification", known=True):
    """Makes 120 train examples in some parts, and validation examples, perhaps without known labels."""

    def rows(split, count):
        for text, label in examples(count, seed=len(split)):
            number = label if known or split == "train" else -1
            yield (text, number) if task == "classification" else (text, text[:2])

    def parts(split, count, number):
        whole = list(rows(split, count))
        return [whole[part * count // number : (part + 1) * count // number] for part in range(number)]

    splits = {"train": parts("train", 120, train_parts)}
    if validation:
        splits["validation"] = parts("validation", validation, 1)
    fields = ["text"] if task == "classification" else ["source", "target"]
    labels = ["no", "yes"] if task == "classification" else None
    return make_tokens(root, task, splits, dict.fromkeys(fields, TOKENIZER), labels)


def train(tokens, root, model, task="classification", epochs=1):
    """Runs the stage; returns artifact, history and model."""
    artifact = tiny_training.train(tokens, root, model=model, task=task, epochs=epochs)
    return artifact, artifact.history(), keras.models.load_model(artifact.model_file())


def pad(rows):
    return keras.utils.pad_sequences([text for text, _ in rows], maxlen=10, padding="post")


def test_document_frequencies_are_those_of_the_texts_however_they_are_cut(tmp_path):
    rows = list(examples(120, seed=len("train")))
    containing = [sum(token in text for text, _ in rows) for token in range(10)]
    expected = np.log((1 + 120) / (1 + np.array(containing))) + 1
    weights = []
    for parts in (1, 5):
        tokens = write(tmp_path / f"{parts}", parts)
        *_, model = train(tokens, tmp_path / f"{parts}-out", TFIDF)
        weights.append(model.encoder.tfidf.idf.numpy())
    np.testing.assert_allclose(weights[0][:10], expected, rtol=1e-6)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert len(set(weights[0][10:])) > 5


def test_document_frequencies_of_the_source_of_a_seq2seq_model(tmp_path):
    tokens = write(tmp_path / "tokens", 2, task="seq2seq")
    model = {**TFIDF, "decoder": {"type": "gru", "units": 4}, "attention": {"type": "bahdanau"}}
    *_, model = train(tokens, tmp_path / "out", model, task="seq2seq")
    rows = list(examples(120, seed=len("train")))
    containing = sum(4 in text for text, _ in rows)
    np.testing.assert_allclose(model.encoder.tfidf.idf[4], np.log(121 / (1 + containing)) + 1, rtol=1e-6)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("readout")
    events = []
    with listening(events.append):
        artifact, history, model = train(write(directory / "tokens"), directory / "out", RESERVOIR)
    return artifact, history, model, events


def test_the_readout_equals_scikit_learns_ridge(fitted):
    _, history, model, _ = fitted
    rows, watched = list(examples(120, seed=len("train"))), list(examples(40, seed=len("validation")))
    features, watched_features = (np.float64(model.features(pad(some))) for some in (rows, watched))
    labels, watched_labels = (np.eye(2)[[label for _, label in some]] for some in (rows, watched))
    errors = []
    for ridge in RIDGES:
        reference = Ridge(alpha=ridge).fit(features, labels)
        errors.append(np.mean((reference.predict(watched_features) - watched_labels) ** 2))
    chosen = int(np.argmin(errors))
    np.testing.assert_allclose([entry["squared_error"] for entry in history["alphas"]], errors, rtol=1e-5)
    assert history["ridge"] == RIDGES[chosen]
    reference = Ridge(alpha=RIDGES[chosen]).fit(features, labels)
    kernel, bias = model.readout.get_weights()
    np.testing.assert_allclose(kernel, reference.coef_.T, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(bias, reference.intercept_, rtol=1e-3, atol=1e-4)


def test_the_readout_is_the_same_however_the_examples_are_cut(fitted, tmp_path):
    artifact, history, model, _ = fitted
    again, other_history, other = train(write(tmp_path / "tokens", 5), tmp_path / "out", RESERVOIR)
    for weight, same in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(same, weight, atol=1e-5)
    assert again.summary["ridge"] == artifact.summary["ridge"]
    errors = [each["epochs"][0]["squared_error"] for each in (history, other_history)]
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-6)


def test_a_readout_that_is_fitted_as_one_of_many_trials_is_the_same(fitted, tmp_path):
    artifact, _, model, _ = fitted
    place = files.resolve(tmp_path / "out")
    config = TrainConfig(batch_size=32, monitor="accuracy")
    trial = Trial(
        config,
        ModelConfig.model_validate(RESERVOIR),
        "classification",
        3,
        Work(place, "train", "key", place / "status"),
        measuring=lambda model, inputs: lambda: 0.75,
        parallel=1,
    )
    asked = []
    made = train_here(trial, {"tokenize": write(tmp_path / "tokens", 5).reference}, None, asked.append)
    assert made.summary["val_accuracy"] == 0.75
    assert asked == [8 * (5 * 40 * 40 + 2 * 4096 * 40)]
    (file,) = (each for each in made.files if each.name == "model.keras")
    other = keras.models.load_model(local_file(place, file))
    for weight, same in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(same, weight, atol=1e-5)
    assert made.summary["ridge"] == artifact.summary["ridge"]


def test_equal_fits_give_equal_bytes(fitted, tmp_path):
    artifact, *_ = fitted
    again, *_ = train(write(tmp_path / "tokens"), tmp_path / "out", RESERVOIR)
    assert again.read("model.keras") == artifact.read("model.keras")
    assert again.summary == artifact.summary


def test_the_stage_reports_like_a_training(fitted):
    artifact, history, model, events = fitted
    (finished,) = (event for event in events if isinstance(event, EpochFinished))
    parameters = model.count_params()
    assert {"epochs": 1, "kept_epoch": 1, "parameters": parameters}.items() <= artifact.summary.items()
    (epoch,) = history["epochs"]
    assert finished.metrics == {name: epoch[name] for name in ("squared_error", "val_squared_error")}
    assert epoch["squared_error"] < np.mean((np.eye(2)[[label for _, label in examples(120, 5)]] - 0.5) ** 2)
    assert artifact.names() == ["history.json", "model.keras", "plots/training_curves.png"]
    read = {event.message: event.done for event in events if isinstance(event, Progress)}
    assert (read["reading train"], read["reading validation"]) == (120, 40)
    assert len(model.trainable_weights) == 3  # the embedding, which nothing trains, and the readout


def test_a_ridge_at_an_end_of_the_list_is_a_warning(fitted, tmp_path):
    artifact, _, _, events = fitted
    said = [event.message for event in events if isinstance(event, Warned)]
    assert bool(said) is (artifact.summary["ridge"] in (min(RIDGES), max(RIDGES)))
    events = []
    with listening(events.append):
        train(
            write(tmp_path / "tokens"),
            tmp_path / "out",
            {**RESERVOIR, "readout": {"type": "ridge", "alphas": [1e6, 1e7]}},
        )
    (said,) = (event.message for event in events if isinstance(event, Warned))
    assert said == "the best ridge, 1e+06, is at an end of model.readout.alphas: try smaller ones"


def test_several_ridges_need_a_validation_split(tmp_path):
    tokens = write(tmp_path / "tokens", validation=0)
    message = "received 3 alphas and no validation split to choose by"
    with pytest.raises(Exception, match=message) as caught:
        train(tokens, tmp_path / "out", RESERVOIR)
    assert "name files for `validation`" in str(caught.value)
    with pytest.raises(Exception, match=message):
        train(write(tmp_path / "unknown", known=False), tmp_path / "unknown-out", RESERVOIR)
    single = {**RESERVOIR, "readout": {"type": "ridge", "alphas": [0.1]}}
    artifact, *_ = train(tokens, tmp_path / "single", single)
    assert artifact.summary["ridge"] == 0.1


def test_a_readout_that_does_not_suit_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match=r"model\.readout: received a closed form for encoder gru"):
        train(write(tmp_path), tmp_path / "out", {**RESERVOIR, "encoder": {"type": "gru"}})


def test_a_reservoir_that_explodes_names_its_settings(tmp_path):
    wild = {**RESERVOIR["encoder"], "activation": "exponential", "spectral_radius": 3.0}
    with pytest.raises(Exception, match=r"the states became infinite or no number.*Lower spectral_radius"):
        train(write(tmp_path / "tokens"), tmp_path / "out", {**RESERVOIR, "encoder": wild})


def test_ridges_that_are_all_too_small_name_their_key(tmp_path):
    """Of 160 features at least 40 depend on others, as there are 120 texts."""
    wide = {
        "readout": {"type": "ridge", "alphas": [1e-300]},
        "encoder": {"type": "echo_state_rnn", "units": 160},
    }
    with pytest.raises(Exception, match=r"model\.readout\.alphas: received \[1e-300\].*Add a larger one"):
        train(write(tmp_path / "tokens"), tmp_path / "out", {**RESERVOIR, **wide})


@pytest.mark.parametrize(
    "model",
    [TFIDF, {"encoder": {"type": "echo_state_rnn", "units": 8}, "embeddings": {"trainable": False}}],
    ids=["tfidf", "echo_state_rnn"],
)
def test_what_is_fixed_survives_a_killed_training(model, tmp_path):
    tokens = write(tmp_path / "tokens")
    *_, whole = train(tokens, tmp_path / "whole", model, epochs=2)

    def kill(event):
        if isinstance(event, EpochFinished):
            raise KeyboardInterrupt

    with listening(kill), pytest.raises(BaseException):  # noqa: B017, PT011 (Beam may wrap it)
        train(tokens, tmp_path / "killed", model, epochs=2)
    *_, resumed = train(tokens, tmp_path / "killed", model, epochs=2)
    tiny_training.assert_same_weights(whole, resumed)


def test_trials_of_any_kind_share_a_step_and_each_is_as_if_alone(tmp_path):
    """A closed form, and two that count terms of their own before they are fitted."""
    tokens = write(tmp_path / "tokens", 2)
    unigrams = {"encoder": {**TFIDF["encoder"], "ngrams": 1}}
    models = {"train": RESERVOIR, "train 2": TFIDF, "train 3": unigrams}
    config = TrainConfig.model_validate({**tiny_training.PLAIN, "epochs": 1, "batch_size": 32})
    trials = {
        name: Trial(
            config,
            ModelConfig.model_validate(model),
            "classification",
            3,
            Work(files.resolve(tmp_path), "train", name.replace(" ", "-"), tmp_path / name, node=name),
        )
        for name, model in models.items()
    }
    found = run_transform(Train(trials), [(name, {"tokenize": tokens.reference}) for name in trials])
    made = dict(found)
    assert (len(found), made.keys()) == (3, trials.keys())
    for name, model in models.items():
        alone, *_ = train(tokens, tmp_path / f"{name} alone", model)
        assert made[name].summary == alone.summary
        (file,) = (each for each in made[name].files if each.name == "model.keras")
        assert local_file(files.resolve(tmp_path), file).read_bytes() == alone.read("model.keras")


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_sums_do_not_depend_on_how_they_are_combined(data):
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    features, labels = random.normal(3, 2, (60, 4)), np.eye(3)[random.integers(0, 3, 60)]
    weights = data.draw(st.sampled_from([None, random.uniform(0.1, 9, 60)]))
    cuts = sorted(data.draw(st.lists(st.integers(0, 60), max_size=6)))
    pieces = [
        (features[start:end], labels[start:end], None if weights is None else weights[start:end])
        for start, end in zip([0, *cuts], [*cuts, 60], strict=True)
    ]
    combine = SumRidge()
    accumulators = [combine.create_accumulator()]
    for index in data.draw(st.permutations(range(len(pieces)))):
        worker = data.draw(st.integers(0, len(accumulators)))
        if worker == len(accumulators):
            accumulators.append(combine.create_accumulator())
        accumulators[worker] = combine.add_input(accumulators[worker], pieces[index])
    accumulators = data.draw(st.permutations(accumulators))
    kernel, bias = combine.extract_output(combine.merge_accumulators(accumulators)).solve(0.5)
    reference = Ridge(alpha=0.5).fit(features, labels, sample_weight=weights)
    np.testing.assert_allclose(kernel, reference.coef_.T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(bias, reference.intercept_, rtol=1e-9, atol=1e-12)


def test_a_weighted_readout_equals_scikit_learns_and_is_chosen_without_weights(fitted, tmp_path):
    weights = {"no": 0.5, "yes": 4.0}
    tokens = write(tmp_path / "tokens", 3)
    artifact = tiny_training.train(tokens, tmp_path / "out", model=RESERVOIR, class_weight=weights, epochs=1)
    model, history = keras.models.load_model(artifact.model_file()), artifact.history()
    rows, watched = list(examples(120, seed=len("train"))), list(examples(40, seed=len("validation")))
    features, watched_features = (np.float64(model.features(pad(some))) for some in (rows, watched))
    labels, watched_labels = (np.array([label for _, label in some]) for some in (rows, watched))
    fits, errors = [], []
    for ridge in RIDGES:
        counted = np.array([0.5, 4.0])[labels]
        fits.append(Ridge(alpha=ridge).fit(features, np.eye(2)[labels], sample_weight=counted))
        errors.append(np.mean((fits[-1].predict(watched_features) - np.eye(2)[watched_labels]) ** 2))
    np.testing.assert_allclose([entry["squared_error"] for entry in history["alphas"]], errors, rtol=1e-4)
    kernel, bias = model.readout.get_weights()
    reference = fits[int(np.argmin(errors))]
    np.testing.assert_allclose(kernel, reference.coef_.T, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(bias, reference.intercept_, rtol=1e-3, atol=1e-4)
    _, _, unweighted, _ = fitted
    assert np.abs(kernel - unweighted.readout.get_weights()[0]).max() > 1e-2
