"""Trainings that start from an earlier model: what is copied, what is not, and what must be the same."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tiny_training
from made_artifacts import make_tokens
from stage_runner import run_stage
from test_models import ENCODERS, SMALL
from test_seq2seq_options import BASE, OPTIONS
from tiny_training import TrainOne, assert_same_weights, kill_after

from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from components.models.build import build_model
from components.models.config import ModelConfig
from components.reports import EpochFinished, Warned, listening
from components.tokenize.config import Characters
from components.tokenize.tokenizers import SPECIAL_TOKENS, CharacterTokenizer
from components.train.config import TrainConfig
from components.train.transform import Trial
from components.train.warm_start import InitialModel, check_network, start_from, warm_start
from components.work import Work

OLD_LETTERS, NEW_LETTERS = "abcdef", "abcdefghi"
OLD_SIZES = {"text": 10, "label": 2, "source": 10, "target": 10}
NEW_SIZES = {"text": 13, "label": 5, "source": 13, "target": 14}

CLASSIFIERS = {
    **{encoder: {"encoder": {"type": encoder, **SMALL.get(encoder, {"units": 5})}} for encoder in ENCODERS},
    "deep": {"encoder": {"type": "gru", "units": 5, "num_layers": 2, "bidirectional": True}},
    "ngrams": {"encoder": {"type": "tfidf", "units": 5, "ngrams": 2, "hash_bins": 50}},
    "regression": {"encoder": {"type": "tfidf", "num_layers": 0, "ngrams": 2, "hash_bins": 50}},
    "regression, pooled": {"encoder": {"type": "tfidf", "num_layers": 0}, "pooling": "attention"},
    "attention": {"encoder": {"type": "lstm", "units": 5}, "pooling": "attention"},
    "hard": {"encoder": {"type": "gru", "units": 5}, "pooling": {"type": "hard_attention"}},
    "fixed": {"encoder": {"type": "gru", "units": 5}, "embeddings": {"trainable": False}},
}
SEQ2SEQ = {
    **{name: {**BASE, **changes} for name, changes in OPTIONS.items()},
    "base": BASE,
    "tied": {**BASE, "tied_softmax": True},
    "tfidf": {**BASE, "encoder": {"type": "tfidf", "units": 5, "ngrams": 2, "hash_bins": 50}},
    "memory network": {**BASE, "encoder": {"type": "memory_network", "units": 5}},
}
for _name, _settings in SEQ2SEQ.items():
    SEQ2SEQ[_name] = {**_settings, "decoder": {**BASE["decoder"], **_settings["decoder"]}}
MODELS = [
    *(("classification", name, settings) for name, settings in CLASSIFIERS.items()),
    *(("seq2seq", name, settings) for name, settings in SEQ2SEQ.items()),
]
models = pytest.mark.parametrize(
    ("task", "settings"), [(task, settings) for task, _, settings in MODELS], ids=[m[1] for m in MODELS]
)


def build(settings, task, sizes, seed):
    keras.utils.set_random_seed(seed)
    model = build_model(ModelConfig.model_validate(settings), task, sizes)
    for variable in model.weights:  # biases too, which would all be 0, and what is counted
        if "float" in variable.dtype:
            variable.assign_add(np.random.default_rng(seed).normal(0, 0.1, variable.shape))
    return model


def texts(task, seed=0):
    """Ids of texts of old tokens, as the model takes them."""
    random = np.random.default_rng(seed)
    rows = np.where(random.random((8, 7)) < 0.9, random.integers(1, 10, (8, 7)), 0).astype("int32")
    return rows if task == "classification" else {"source": rows, "previous": rows[:, ::-1].copy()}


@models
def test_the_models_say_which_axes_belong_to_vocabularies(task, settings):
    """One more token, or label, makes exactly the axes of its field longer, by one."""
    config = ModelConfig.model_validate(settings)
    model = build_model(config, task, OLD_SIZES)
    declared = [(id(axis.variable), axis.axis, axis.field) for axis in model.vocabulary_axes()]
    assert len(declared) == len(set(declared))
    for field, size in model.sizes.items():
        larger = build_model(config, task, {**OLD_SIZES, field: size + 1})
        longer = [
            (id(variable), axis, field)
            for variable, other in zip(model.weights, larger.weights, strict=True)
            for axis, length in enumerate(variable.shape)
            if other.shape[axis] == length + 1
        ]
        assert sorted(longer) == sorted(each for each in declared if each[2] == field)
        assert longer


@models
def test_old_tokens_are_copied_and_new_ones_stay_as_drawn(task, settings):
    """Old texts get the logits of the earlier model, before any training step."""
    earlier, model = (build(settings, task, sizes, sizes["text"]) for sizes in (OLD_SIZES, NEW_SIZES))
    drawn = {id(weight): weight.numpy() for weight in model.weights}
    other = model(texts(task)).numpy()
    warm_start(model, earlier)
    expected, found = earlier(texts(task)).numpy(), model(texts(task)).numpy()
    old = expected.shape[-1]
    np.testing.assert_allclose(found[..., :old], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(other[..., :old] - expected).max() > 0.01
    for variable, axis, field in model.vocabulary_axes():
        new = range(earlier.sizes[field], model.sizes[field])
        before, after = (np.take(each, new, axis) for each in (drawn[id(variable)], variable.numpy()))
        np.testing.assert_array_equal(after, before)
        assert before.size


@models
def test_equal_vocabularies_give_the_same_model(task, settings):
    earlier, model = (build(settings, task, OLD_SIZES, seed) for seed in (1, 2))
    warm_start(model, earlier)
    passing = {id(each) for each in model.training_state()}
    for ours, theirs in zip(model.weights, earlier.weights, strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy()) == (id(ours) not in passing)


@pytest.mark.parametrize("estimator", ["reinforce", "straight_through"])
@pytest.mark.parametrize("task", ["classification", "seq2seq"])
def test_what_only_steers_a_training_is_not_copied(task, estimator):
    """Not even between two estimators, whose states are different variables."""
    hard = {"type": "hard_attention" if task == "classification" else "hard"}
    settings = {**BASE, "attention": hard} if task == "seq2seq" else {**CLASSIFIERS["gru"], "pooling": hard}
    part = "attention" if task == "seq2seq" else "pooling"
    earlier = build(settings, task, OLD_SIZES, 1)
    model = build({**settings, part: {**hard, "estimator": estimator}}, task, NEW_SIZES, 2)
    state = [each.numpy() for each in model.training_state()]
    generators = [variable.numpy() for variable in model.variables if "seed" in variable.path]
    warm_start(model, earlier)
    assert state
    np.testing.assert_array_equal([each.numpy() for each in model.training_state()], state)
    np.testing.assert_array_equal([v.numpy() for v in model.variables if "seed" in v.path], generators)
    np.testing.assert_allclose(
        model(texts(task))[..., : earlier(texts(task)).shape[-1]], earlier(texts(task)), rtol=1e-5, atol=1e-6
    )


def test_another_shape_is_refused():
    earlier, model = (
        build({"encoder": {"type": "gru", "units": units}}, "classification", OLD_SIZES, 1)
        for units in (5, 6)
    )
    with pytest.raises(ValueError, match=r"of shape \(64, 18\) for an earlier one of shape \(64, 15\)"):
        warm_start(model, earlier)
    smaller = build({"encoder": {"type": "gru", "units": 5}}, "classification", {**OLD_SIZES, "label": 1}, 1)
    with pytest.raises(ValueError, match="expected axes that differ by new tokens or labels only"):
        warm_start(smaller, earlier)


# The stage.

NETWORK = {"embedding_size": 8, "encoder": {"type": "gru", "units": 12}, "pooling": "max"}
TFIDF = {"encoder": {"type": "tfidf", "units": 8, "ngrams": 2, "hash_bins": 50}}


def tokenizer(letters):
    return CharacterTokenizer(Characters(type="characters"), [*SPECIAL_TOKENS, *letters])


def make_texts(root, letters, labels, seed=1):
    """Texts of random letters with one letter that says the label: `a` the first of `labels`, and so on."""
    random = np.random.default_rng(seed)

    def rows(count):
        for _ in range(count):
            label = int(random.integers(len(labels)))
            noise = random.integers(4 + len(labels), 4 + len(letters), random.integers(1, 6))
            yield random.permutation([*noise, 4 + label]), label

    splits = {"train": [list(rows(200))], "validation": [list(rows(50))]}
    return make_tokens(root, "classification", splits, {"text": tokenizer(letters)}, labels)


def train(tokens, root, init=None, network=NETWORK, task="classification", key="key", **settings):
    config = TrainConfig.model_validate(
        {
            "batch_size": 20,
            "length_buckets": 1,
            "optimizer": {"type": "adam", "learning_rate": 0.02},
            **settings,
        }
    )
    model = ModelConfig.model_validate(network)
    return run_stage(
        lambda work: TrainOne(config, model, task, 3, work, None, init),
        TrainedModel,
        {"tokenize": tokens.reference},
        root,
        key,
    )


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Tokens of two labels and six letters, and a model trained on them."""
    root = tmp_path_factory.mktemp("old")
    tokens = make_texts(root, OLD_LETTERS, ["one", "two"])
    return tokens, train(tokens, root, epochs=6)


@pytest.fixture(scope="module")
def init(old):
    return InitialModel(*(each.reference for each in old))


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    """Tokens of three labels and nine letters, which begin with the old ones."""
    return make_texts(tmp_path_factory.mktemp("more"), NEW_LETTERS, ["one", "two", "three"], seed=2)


def load(artifact):
    return keras.models.load_model(artifact.model_file())


def test_training_starts_from_the_earlier_model(old, init, more, tmp_path):
    """It is better after an epoch than what was drawn, learns the new label, and says where it began."""
    fresh = train(more, tmp_path, epochs=1)
    events = []
    with listening(events.append):
        warm = train(more, tmp_path / "warm", init, epochs=6)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [1, 2, 3, 4, 5, 6]
    assert not [event for event in events if isinstance(event, Warned)]
    epochs = warm.history()["epochs"]
    assert epochs[0]["val_loss"] < fresh.history()["epochs"][0]["val_loss"]
    assert epochs[-1]["val_accuracy"] > 0.95  # two labels of three would be below 0.75
    assert warm.summary["init"] == {
        "weights": old[1].summary["weights"],
        "added": {"text": 3, "label": 1},
    }
    assert "init" not in fresh.summary
    assert int(load(warm).optimizer.iterations) == 6 * 10


def test_a_killed_training_goes_on_from_its_checkpoint(init, more, tmp_path):
    """Whose weights count, not those of the earlier model: the bytes are as if nothing had been."""
    settings = {"epochs": 3, "learning_rate_schedule": "cosine", "early_stopping": {"patience": 5}}
    network = {**NETWORK, "dropout": 0.3}  # may differ
    whole = train(more, tmp_path / "whole", init, network, **settings)
    with listening(kill_after(2)), pytest.raises(BaseException, match="KilledError"):
        train(more, tmp_path / "killed", init, network, **settings)
    events = []
    with listening(events.append):
        resumed = train(more, tmp_path / "killed", init, network, **settings)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [3]
    assert resumed.read("model.keras") == whole.read("model.keras")
    cold = train(more, tmp_path / "cold", network=network, **settings)
    assert cold.read("model.keras") != whole.read("model.keras")


def test_the_earlier_model_may_be_in_an_object_store(more, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    away = f"memory://{tmp_path.name}-earlier"
    results = []
    for place in (tmp_path / "here", away):
        tokens = make_texts(place, OLD_LETTERS, ["one", "two"])
        init = InitialModel(tokens.reference, train(tokens, place, epochs=1).reference)
        results.append(train(more, tmp_path / f"out{len(results)}", init, epochs=1))
    assert results[0].read("model.keras") == results[1].read("model.keras")


def test_terms_keep_their_weights_and_new_ones_are_counted(tmp_path):
    tokens = make_texts(tmp_path, OLD_LETTERS, ["one", "two"])
    earlier = train(tokens, tmp_path, network=TFIDF, epochs=1)
    more = make_texts(tmp_path, NEW_LETTERS, ["one", "two", "three"], seed=2)
    init = InitialModel(tokens.reference, earlier.reference)
    fresh, warm = (
        load(train(more, tmp_path / str(bool(given)), given, TFIDF, epochs=1)).encoder.tfidf.idf.numpy()
        for given in (None, init)
    )
    old = load(earlier).encoder.tfidf.idf.numpy()
    np.testing.assert_array_equal(warm[:10], old[:10])
    np.testing.assert_array_equal(warm[10:13], fresh[10:13])
    np.testing.assert_array_equal(warm[13:], old[10:])
    assert not np.array_equal(fresh[:10], old[:10])
    assert len(set(fresh[10:13])) > 1


def test_a_seq2seq_model_starts_from_an_earlier_one(tmp_path):
    network = {**BASE, "encoder": {"type": "gru", "units": 16}, "decoder": {"type": "gru", "units": 16}}
    tokens = tiny_training.make_pairs(tmp_path)
    earlier = train(tokens, tmp_path, network=network, task="seq2seq", epochs=15)
    random = np.random.default_rng(2)
    pairs = [(text, text[::-1]) for text in random.integers(4, 13, (60, 3))]
    longer = tokenizer(NEW_LETTERS)
    more = make_tokens(
        tmp_path,
        "seq2seq",
        {"train": [pairs], "validation": [pairs[:20]]},
        dict.fromkeys(("source", "target"), longer),
    )
    init = InitialModel(tokens.reference, earlier.reference)
    fresh, warm = (
        train(more, tmp_path / str(bool(given)), given, network, "seq2seq", epochs=1)
        for given in (None, init)
    )
    assert warm.summary["init"]["added"] == {"source": 3, "target": 3}
    assert warm.history()["epochs"][0]["loss"] < fresh.history()["epochs"][0]["loss"]


def test_a_fixed_reservoir_stays_the_earlier_one(tmp_path):
    network = {
        "embedding_size": 4,
        "encoder": {"type": "echo_state_rnn", "units": 12},
        "embeddings": {"trainable": False},
    }
    tokens = make_texts(tmp_path, OLD_LETTERS, ["one", "two"])
    earlier = train(tokens, tmp_path, network=network, epochs=1)
    more = make_texts(tmp_path, NEW_LETTERS, ["one", "two", "three"], seed=2)
    warm = train(
        more, tmp_path, InitialModel(tokens.reference, earlier.reference), network, key="w", epochs=2
    )
    ours, theirs = load(warm), load(earlier)
    assert_same_weights(ours.encoder, theirs.encoder)
    np.testing.assert_array_equal(ours.embedding.embeddings[:10], theirs.embedding.embeddings)


# Errors.

MONOTONIC = {**BASE, "attention": {"type": "monotonic"}}
HARD = {**BASE, "attention": {"type": "hard"}}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (
            {**NETWORK, "embedding_size": 9, "encoder": {"type": "gru", "units": 13}},
            NETWORK,
            "model.embedding_size is 9, of the earlier model 8; "
            "model.encoder.units is 13, of the earlier model 12",
        ),
        (
            {**NETWORK, "encoder": {"type": "lstm", "units": 12}},
            NETWORK,
            "model.encoder.type is lstm, of the earlier model gru",
        ),
        ({**NETWORK, "pooling": "mean"}, NETWORK, "model.pooling is mean, of the earlier model max"),
        (
            {**NETWORK, "pooling": {"type": "hard_attention"}},
            NETWORK,
            "model.pooling is hard_attention, of the earlier model max",
        ),
        ({**BASE, "attention": None}, BASE, "model.attention is absent, of the earlier model bahdanau"),
        (
            {"encoder": {"type": "echo_state_rnn", "units": 12, "leak_rate": 0.5}},
            {"encoder": {"type": "echo_state_rnn", "units": 12}},
            "model.encoder.leak_rate is 0.5, of the earlier model 1.0",
        ),
        (
            {"encoder": {"type": "echo_state_rnn", "units": 12}},
            {"encoder": {"type": "echo_state_rnn", "units": 12}, "readout": {"type": "ridge"}},
            "model.readout is absent, of the earlier model ridge",
        ),
        (
            {**MONOTONIC, "attention": {"type": "monotonic", "score_bias": -1.0}},
            MONOTONIC,
            "model.attention.score_bias is -1.0, of the earlier model -4.0",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_networks_that_differ(ours, theirs, said, monkeypatch):
    with pytest.raises(UserError, match=r"^train\.init_from: the network differs") as caught:
        check(ours, theirs, monkeypatch)
    assert f"expected the same: {said}. Set these keys as they were, or remove" in str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            {
                **NETWORK,
                "dropout": 0.5,
                "embeddings": {"trainable": False},
                "encoder": {**NETWORK["encoder"], "dropout": 0.1},
            },
            NETWORK,
        ),
        ({"encoder": {"type": "tfidf", "dropout": 0.5}}, {"encoder": {"type": "tfidf"}}),
        ({**MONOTONIC, "attention": {"type": "monotonic", "noise": 0.0}}, MONOTONIC),
        ({**HARD, "attention": {"type": "hard", "estimator": "straight_through", "temperature": 2.0}}, HARD),
        ({**BASE, "decoder": {**BASE["decoder"], "dropout": 0.2}}, BASE),
    ],
)
def test_what_acts_in_training_only_may_differ(ours, theirs, monkeypatch):
    check(ours, theirs, monkeypatch)


def check(ours, theirs, monkeypatch):
    """Compares two networks, without training the earlier one."""

    class Earlier:
        def model_config(self):
            return {"config": json.loads(ModelConfig.model_validate(theirs).model_dump_json())}

    monkeypatch.setattr(TrainedModel, "load", lambda reference: Earlier())
    check_network(InitialModel(None, None), ModelConfig.model_validate(ours))


def test_the_stage_checks_the_network_before_it_runs(init):
    other = ModelConfig.model_validate({**NETWORK, "embedding_size": 9})
    with pytest.raises(UserError, match=r"model\.embedding_size is 9, of the earlier model 8"):
        Trial(TrainConfig(), other, "classification", 3, Work(None, "train", "key"), None, init)


def test_a_closed_form_has_nothing_to_start_from(init):
    ridge = ModelConfig.model_validate(
        {"encoder": {"type": "echo_state_rnn", "units": 12}, "readout": {"type": "ridge"}}
    )
    with pytest.raises(
        UserError, match=r"model\.readout`, which is fitted in closed form to the train split alone"
    ):
        Trial(TrainConfig(), ridge, "classification", 3, Work(None, "train", "key"), None, init)


def test_a_model_of_another_version(old, init, monkeypatch):
    said = (
        r"model\.keras is of another version of rnnpipe, which this one cannot read\. Train that model again"
    )
    monkeypatch.setattr(TrainedModel, "model_config", lambda self: {"config": {"unheard_of": 1}})
    with pytest.raises(UserError, match=said):
        check_network(init, ModelConfig.model_validate(NETWORK))
    monkeypatch.setattr(keras.models, "load_model", _fail)
    with pytest.raises(UserError, match=said):
        start_from(None, old[0], init)


def _fail(*_, **__):
    raise TypeError("no such argument")


@pytest.mark.parametrize(
    ("letters", "labels", "field"),
    [
        ("abcdfeghi", ["one", "two"], "text"),
        (OLD_LETTERS, ["one", "three", "two"], "label"),
        ("abc", ["one", "two"], "text"),
    ],
)
def test_vocabularies_that_extend_no_earlier_ones(init, tmp_path, letters, labels, field):
    tokens = make_tokens(tmp_path, "classification", {}, {"text": tokenizer(letters)}, labels)
    with pytest.raises(
        UserError, match=rf"the vocabulary of `{field}` does not begin with the .* entries of the earlier"
    ):
        start_from(None, tokens, init)
