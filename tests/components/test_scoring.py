"""What `score` gives to targets: the figures of the search, and of the model's own logits."""

import functools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.predictor import Predictor, pad
from components.tokenize.config import Characters, Words
from components.tokenize.tokenizers import END, START, UNKNOWN, CharacterTokenizer, WordTokenizer

ALPHABET = "abcdeé東🙂"
TEXTS = ["abc", "", "é東", "🙂", "edcba", "zz", "bé🙂"]

PLAIN = {
    "encoder": {"type": "gru", "units": 16},
    "decoder": {"type": "gru", "units": 16},
    "attention": {"type": "bahdanau"},
}
MODELS = {
    "bahdanau": PLAIN,
    "no attention": {**PLAIN, "attention": None, "tied_softmax": True, "bridge": "copy"},
    "luong, fed": {
        "encoder": {"type": "lstm", "units": 8, "bidirectional": True},
        "decoder": {"type": "lstm", "units": 16, "num_layers": 2, "input_feeding": True},
        "attention": {"type": "luong"},
    },
    "hard": {**PLAIN, "attention": {"type": "hard"}},
    "monotonic, memory": {
        **PLAIN,
        "attention": {"type": "monotonic"},
        "memory": {"type": "memory_network", "hops": 2},
        "encoder": {"type": "cnn_lstm", "units": 16, "filters": 8, "pool_size": 2},
    },
}


def tokenizer(length=8):
    config = Characters(type="characters", max_sequence_length=length)
    return CharacterTokenizer.learn(config, [(character, 1) for character in ALPHABET])


def train(config, steps=150):
    """A model that has begun to learn to reverse texts."""
    keras.utils.set_random_seed(3)
    draw, learnt = random.Random(3), tokenizer()
    config = ModelConfig.model_validate({"embedding_size": 8, **config})
    model = build_model(config, "seq2seq", dict.fromkeys(("source", "target"), learnt.vocabulary_size))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    texts = ["".join(draw.choices(ALPHABET, k=draw.randint(0, 5))) for _ in range(32 * steps)]
    source = learnt.tokenize(tf.constant(texts)).to_tensor(shape=[None, 5])
    target = learnt.tokenize(tf.constant([text[::-1] for text in texts]))
    previous = tf.concat([tf.fill([len(texts), 1], START), target.to_tensor(shape=[None, 5])], 1)
    expected = tf.concat([target, tf.fill([len(texts), 1], END)], 1).to_tensor(shape=[None, 6])
    weights = tf.cast(expected > 0, tf.float32)
    model.fit(
        {"source": source, "previous": previous}, expected, sample_weight=weights, batch_size=32, verbose=0
    )
    return model


@pytest.fixture(scope="module")
def trained():
    """Trains a model of each kind once."""
    return functools.cache(lambda name="bahdanau": train(MODELS[name]))


def predictor(model, length=8, **decode):
    tokenizers = {"source": tokenizer(length), "target": tokenizer(length)}
    return Predictor("seq2seq", model, tokenizers, [], DecodeConfig(**{"max_decoding_length": 9, **decode}))


def arrays(answers):
    return {name: value.numpy() for name, value in answers.items()}


def score(asked, texts, targets):
    return arrays(asked.score(tf.constant(texts, tf.string), tf.constant(targets, tf.string)))


def finished_answers(searching):
    """Texts, answers and scores of all hypotheses that ended and that a text can spell."""
    config = searching.decode
    found = arrays(
        searching.model.decode(
            searching._read(tf.constant(TEXTS)), config, searching.prefix, n_best=config.beam_size
        )
    )
    answers = searching.tokenizers["target"].detokenize(tf.constant(found["sequences"])).numpy()
    spelt = found["finished"] & ~(found["sequences"] == UNKNOWN).any(axis=2)
    rows, _ = np.nonzero(spelt)
    texts = [TEXTS[row] for row in rows]
    return texts, answers[spelt].tolist(), found["scores"][spelt], found["lengths"][spelt]


DECODE = {
    "greedy": {"beam_size": 1},
    "default": {},
    "no penalty": {"length_penalty": 0.0},
    "short ones": {"length_penalty": -0.7, "beam_size": 8},
    "average": {"length_normalization": "average", "length_penalty": 1.0},
    "coverage": {"coverage_penalty": 0.4, "beam_size": 6},
    "prefix": {"prefix": "é東", "beam_size": 8},
    "prefix, coverage": {"prefix": "a", "coverage_penalty": 0.2, "length_normalization": "average"},
    "groups": {"beam_size": 6, "num_beam_groups": 3, "diversity_penalty": 1.0},
    "long ones": {"min_length": 4, "no_repeat_ngram_size": 2, "beam_size": 8},
    "drawn": {"sample": True, "temperature": 1.5, "beam_size": 8},
}


@pytest.mark.parametrize("decode", list(DECODE))
def test_an_answer_has_the_score_that_it_was_answered_with(trained, decode):
    searching = predictor(trained(), **DECODE[decode])
    texts, answers, scores, lengths = finished_answers(searching)
    assert len(answers) >= len(TEXTS) - 2
    found = score(searching, texts, answers)
    np.testing.assert_allclose(found["score"], scores, rtol=1e-5, atol=1e-5)
    assert found["tokens"].tolist() == (lengths + 1).tolist()
    assert found["known"].all()
    assert len(set(np.round(scores, 3))) > len(TEXTS) / 2, "the model must tell answers apart"


@pytest.mark.parametrize("name", list(MODELS)[1:])
def test_so_it_has_whatever_the_model(trained, name):
    coverage = 0.3 if MODELS[name]["attention"] else 0.0
    searching = predictor(trained(name), beam_size=6, coverage_penalty=coverage)
    texts, answers, scores, _ = finished_answers(searching)
    assert len(answers) >= len(TEXTS)
    found = score(searching, texts, answers)
    np.testing.assert_allclose(found["score"], scores, rtol=1e-5, atol=1e-5)


def test_an_answer_of_the_largest_length_pays_for_its_end(trained):
    searching = predictor(trained(), max_decoding_length=2, min_length=2, length_penalty=0.0)
    answers = arrays(searching.n_best(tf.constant(["abcde"])))
    whole = answers["finished"] & (answers["scores"] > -np.inf)
    targets = answers["predictions"][whole]
    assert len(targets)
    scored = score(searching, ["abcde"] * len(targets), targets.tolist())
    assert (scored["token_log_probabilities"][:, 2] < 0).all()
    np.testing.assert_allclose(scored["score"], answers["scores"][whole], rtol=1e-5)


def test_probabilities_are_those_of_the_models_logits(trained):
    asked = predictor(trained(), length_penalty=0.8)
    targets = ["cba", "", "東", "🙂é", "ab", "z", "éb🙂"]
    found = score(asked, TEXTS, targets)
    tokens = [
        asked.tokenizers["target"].tokenize(tf.constant([text]))[0].numpy().tolist() for text in targets
    ]
    for row, (text, ids) in enumerate(zip(TEXTS, tokens, strict=True)):
        source = pad(asked.tokenizers["source"].tokenize(tf.constant([text])))
        logits = asked.model({"source": source, "previous": tf.constant([[START, *ids]])}).numpy()[0]
        logits = logits.astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        expected = log_probs[range(len(ids) + 1), [*ids, END]]
        count = len(ids) + 1
        np.testing.assert_allclose(found["token_log_probabilities"][row, :count], expected, rtol=1e-4)
        assert not found["token_log_probabilities"][row, count:].any()
        np.testing.assert_allclose(found["log_probability"][row], expected.sum(), rtol=1e-4)
        np.testing.assert_allclose(found["score"][row], expected.sum() / ((5 + count) / 6) ** 0.8, rtol=1e-4)
        pieces = [asked.tokenizers["target"].pieces[token] for token in [*ids, END]]
        assert [token.decode() for token in found["target_tokens"][row]] == pieces + [""] * (4 - count)
        assert found["tokens"][row] == count
    assert found["known"].tolist() == [True, True, True, True, True, False, True]


def test_probabilities_of_all_short_targets_add_up_to_less_than_one(trained):
    targets = ["", *ALPHABET, *(one + other for one in ALPHABET for other in ALPHABET), "z"]  # z: unknown
    found = score(predictor(trained()), ["é東"] * len(targets), targets)
    total = np.exp(found["log_probability"].astype("float64")).sum()
    assert 0.1 < total < 1


def test_a_target_does_not_depend_on_its_batch(trained):
    asked = predictor(trained(), coverage_penalty=0.2, prefix="a")
    targets = ["abc", "", "a", "z", "éa", "ab" * 40, "東"]
    together = score(asked, TEXTS, targets)
    for row, pair in enumerate(zip(TEXTS, targets, strict=True)):
        alone = score(asked, *([each] for each in pair))
        for name, values in alone.items():
            given = together[name][row]
            if values.ndim == 2:
                given = given[: values.shape[1]]
            if values.dtype == np.float32:
                np.testing.assert_allclose(given, values[0], rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(given, values[0])


def test_nothing_cuts_a_target(trained):
    asked = predictor(trained(), length=3, max_decoding_length=2)
    long = "abcde" * 60
    found = score(asked, ["ab", "ab"], [long, long[:-1]])
    assert found["tokens"].tolist() == [301, 300]
    assert b"".join(found["target_tokens"][0]).decode() == long + "</s>"
    assert np.isfinite(found["score"]).all()
    uncut = score(predictor(trained()), ["ab"], [long])
    np.testing.assert_allclose(found["score"][:1], uncut["score"], rtol=1e-5)
    # The text is still read as it is when it is answered.
    cut, whole = score(asked, ["abc" + "d" * 9, "abc"], ["a", "a"])["log_probability"]
    assert cut == whole


def test_a_prefix_counts_where_the_target_does_not_begin_with_it(trained):
    plain, forced = (predictor(trained(), prefix=prefix, length_penalty=1.0) for prefix in (None, "é東"))
    targets = ["é東a", "é東", "é", "", "éa東", "aé東"]
    free, found = (score(asked, ["a東é"] * 6, targets) for asked in (plain, forced))
    for name in set(free) - {"score"}:
        np.testing.assert_array_equal(found[name], free[name])
    np.testing.assert_allclose(found["score"][2:], free["score"][2:], rtol=1e-6)
    behind = found["token_log_probabilities"][:2, 2:].sum(axis=1) / ((5 + np.array([2, 1])) / 6)
    np.testing.assert_allclose(found["score"][:2], behind, rtol=1e-5)


def test_no_target_at_all(trained):
    found = score(predictor(trained(), coverage_penalty=0.1), [], [])
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 0)


def test_every_text_needs_a_target(trained):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected one target for each text"):
        score(predictor(trained()), ["a", "b"], ["a"])


LABELS = ["blue", "größer", "東京 🙂", "red"]


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(5)
    config = ModelConfig.model_validate(
        {"embedding_size": 8, "encoder": {"type": "gru", "units": 8}, "pooling": "max"}
    )
    sizes = {"text": tokenizer().vocabulary_size, "label": len(LABELS)}
    model = build_model(config, "classification", sizes)
    model.set_weights([4 * weight for weight in model.get_weights()])
    return Predictor("classification", model, {"text": tokenizer()}, LABELS, None)


def test_labels_have_the_probabilities_of_the_classes(classifier):
    probabilities = arrays(classifier(tf.constant(TEXTS)))["probabilities"]
    for place, label in enumerate(LABELS):
        found = score(classifier, TEXTS, [label] * len(TEXTS))
        np.testing.assert_allclose(found["probability"], probabilities[:, place], rtol=1e-6)
        np.testing.assert_allclose(np.exp(found["log_probability"]), found["probability"], rtol=1e-5)
        assert found["known"].all()
    best = arrays(classifier(tf.constant(TEXTS)))
    found = score(classifier, TEXTS, best["prediction"].tolist())
    np.testing.assert_allclose(found["probability"], best["score"], rtol=1e-6)
    assert len(set(best["prediction"])) > 1, "the model must tell texts apart"


def test_a_label_that_the_model_does_not_have_is_impossible(classifier):
    targets = ["", "Blue", "blue ", "gro\u0308\u00dfer", "blue", "🙂", "red"]
    found = score(classifier, TEXTS, targets)
    assert found["known"].tolist() == [False, False, False, False, True, False, True]
    unknown = ~found["known"]
    assert not found["probability"][unknown].any()
    assert (found["log_probability"][unknown] == -np.inf).all()
    assert (found["probability"][~unknown] > 0).all()


def test_labels_of_different_texts_do_not_mix(classifier):
    targets = [LABELS[place % 4] for place in range(len(TEXTS))]
    together = score(classifier, TEXTS, targets)
    for row, pair in enumerate(zip(TEXTS, targets, strict=True)):
        alone = score(classifier, *([each] for each in pair))
        np.testing.assert_allclose(together["log_probability"][row], alone["log_probability"][0], rtol=1e-5)
    assert score(classifier, [], [])["probability"].shape == (0,)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected one target for each text"):
        score(classifier, ["a", "b"], ["red"])


def test_words_that_the_vocabulary_lacks_are_scored_as_unknown():
    words = WordTokenizer.learn(Words(type="words"), [("good", 2), ("day", 1)])
    keras.utils.set_random_seed(7)
    sizes = {"source": tokenizer().vocabulary_size, "target": words.vocabulary_size}
    model = build_model(ModelConfig.model_validate({"embedding_size": 4, **PLAIN}), "seq2seq", sizes)
    asked = Predictor("seq2seq", model, {"source": tokenizer(), "target": words}, [], None)
    found = score(asked, ["ab"] * 3, ["good day", "good night", "good évening"])
    assert found["known"].tolist() == [True, False, False]
    assert [token.decode() for token in found["target_tokens"][1]] == ["good", "<unk>", "</s>"]
    assert found["log_probability"][1] == found["log_probability"][2]
    assert np.isfinite(found["log_probability"]).all()
