import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from components.errors import UserError
from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.predictor import Predictor
from components.tokenize.config import Characters, Words
from components.tokenize.tokenizers import CharacterTokenizer, WordTokenizer

ALPHABET = "abcdefgh é東"
TEXTS = ["abc", "", "é東 h", "zz", "abc"]


def tokenizer(characters=ALPHABET):
    config = Characters(type="characters", max_sequence_length=8)
    return CharacterTokenizer.learn(config, [(character, 1) for character in characters])


def seq2seq(encoder=None, attention=True, scale=4):
    """A model with weights so large that different texts have different answers."""
    keras.utils.set_random_seed(3)
    config = {
        "embedding_size": 4,
        "encoder": encoder or {"type": "gru", "units": 6},
        "decoder": {"type": "gru", "units": 6},
        "attention": {"type": "bahdanau"} if attention else None,
    }
    size = tokenizer().vocabulary_size
    model = build_model(ModelConfig.model_validate(config), "seq2seq", {"source": size, "target": size})
    model.set_weights(
        [scale * weight if weight.dtype == np.float32 else weight for weight in model.get_weights()]
    )
    return model


@pytest.fixture(scope="module")
def model():
    return seq2seq()


def predictor(model, target=None, **decode):
    tokenizers = {"source": tokenizer(), "target": target or tokenizer()}
    return Predictor("seq2seq", model, tokenizers, [], DecodeConfig(**{"max_decoding_length": 5, **decode}))


def arrays(answers):
    return {name: value.numpy() for name, value in answers.items()}


@pytest.fixture(scope="module")
def searching(model):
    return predictor(model, beam_size=3)


@pytest.fixture(scope="module")
def answers(searching):
    return arrays(searching(tf.constant(TEXTS)))


def test_the_best_of_many_is_the_answer(searching, answers):
    found = arrays(searching.n_best(tf.constant(TEXTS)))
    assert found["predictions"].shape == found["scores"].shape == found["finished"].shape == (5, 3)
    assert found["predictions"][:, 0].tolist() == answers["prediction"].tolist()
    np.testing.assert_allclose(found["scores"][:, 0], answers["score"], rtol=1e-5)
    assert len(set(answers["prediction"])) == 4, "the model must tell texts apart"


def test_an_explanation_has_a_weight_for_each_pair_of_tokens(searching, answers):
    explained = arrays(searching.explain(tf.constant(TEXTS)))
    for name in ("prediction", "score"):
        assert explained[name].tolist() == answers[name].tolist()
    sources = [[token.decode() for token in row] for row in explained["source_tokens"]]
    assert sources == [
        ["a", "b", "c", ""],
        ["", "", "", ""],
        ["é", "東", " ", "h"],
        ["<unk>", "<unk>", "", ""],
        ["a", "b", "c", ""],
    ]
    targets = [[token.decode() for token in row] for row in explained["target_tokens"]]
    assert ["".join(row).replace("<unk>", "").encode() for row in targets] == answers["prediction"].tolist()
    attention = explained["attention"]
    assert attention.shape == (5, len(targets[0]), 4)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        length, width = (sum(map(bool, tokens)) for tokens in (target, source))
        np.testing.assert_allclose(attention[row, :length].sum(1), float(width > 0), rtol=1e-5)
        assert not attention[row, length:].any()
        assert not attention[row, :, width:].any()


def test_no_text_at_all(searching):
    empty = tf.constant([], tf.string)
    assert searching(empty)["prediction"].shape == (0,)
    assert searching.n_best(empty)["scores"].shape == (0, 3)
    assert searching.explain(empty)["attention"].shape[:2] == (0, 0)


def test_a_source_longer_than_any_is_answered_as_what_the_tokenizer_keeps_of_it(searching):
    long = tf.constant(["abcdefgh" + "c" * 3000, "abcdefgh"])
    cut, whole = searching(long)["prediction"].numpy()
    assert cut == whole
    assert searching.explain(long)["source_tokens"].shape == (2, 8)


class Found:
    """Stands for a model: gives the same hypotheses to every text."""

    def __init__(self, sequences, scores, finished):
        self.decoder = types.SimpleNamespace(attention=None)
        self.found = {
            "sequences": tf.constant(sequences),
            "scores": tf.constant(scores),
            "found": tf.constant(scores) > -np.inf,
            "finished": tf.constant(finished),
        }

    def decode(self, source, config, prefix, n_best):
        assert n_best == config.n_best
        return {name: tf.repeat(value[None], tf.shape(source)[0], 0) for name, value in self.found.items()}


def test_answers_that_read_alike_count_once():
    unknown = 1
    sequences = [[4, unknown], [4, 0], [5, 0], [unknown, 5], [0, 0], [0, 0]]
    scores = [-1.0, -2.0, -3.0, -1.5, -4.0, -np.inf]
    hypotheses = Found(sequences, scores, [True, True, False, False, False, False])
    searching = predictor(hypotheses, beam_size=6, n_best=6)
    found = arrays(searching.n_best(tf.constant(["a", "b"])))
    empty = [b""] * 3  # the first of them is an answer
    assert found["predictions"].tolist() == [[b"a", b"b", *empty, b""]] * 2
    assert found["scores"].tolist() == [[-1.0, -3.0, -4.0, -np.inf, -np.inf, -np.inf]] * 2
    assert found["finished"].tolist() == [[True, False, False, False, False, False]] * 2


@pytest.mark.parametrize(
    ("encoder", "attention", "extra"),
    [
        ({"type": "gru", "units": 6, "bidirectional": True}, False, []),
        ({"type": "text_cnn", "filters": 3, "kernel_sizes": [2]}, True, ["explain"]),
        ({"type": "cnn_lstm", "units": 6, "filters": 3, "pool_size": 2}, True, []),
        ({"type": "cnn_lstm", "units": 6, "filters": 3, "pool_size": 1}, True, ["explain"]),
        ({"type": "tfidf", "units": 6}, True, []),
    ],
    ids=str,
)
def test_only_attention_to_tokens_is_explained(encoder, attention, extra):
    found = list(predictor(seq2seq(encoder, attention)).signatures)
    assert found == ["serving_default", "n_best", *extra, "score"]


def test_a_classifier_also_answers_in_the_form_of_classify():
    classifier = Predictor("classification", None, {"text": tokenizer()}, ["a"], None)
    assert list(classifier.signatures) == ["serving_default", "classify", "score"]


def test_every_answer_begins_with_the_prefix(model):
    searching = predictor(model, beam_size=3, prefix="é東 ", max_decoding_length=6)
    found = arrays(searching.n_best(tf.constant(TEXTS)))
    for predictions in found["predictions"]:
        assert all(prediction.decode().startswith("é東 ") for prediction in predictions)
    assert len(set(found["predictions"].ravel())) > 6


def test_draws_depend_on_the_text_and_the_seed_alone(model):
    def drawn(texts, seed):
        sampling = predictor(model, beam_size=1, sample=True, temperature=3.0, seed=seed)
        return sampling(tf.constant(texts))["prediction"].numpy().tolist()

    first = drawn(TEXTS, 0)
    assert first[0] == first[4]
    assert drawn(TEXTS[2:0:-1], 0) == first[2:0:-1]
    assert drawn(TEXTS, 1) != first


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (
            {"prefix": "azxa"},
            "decode.prefix received 'azxa', but the target vocabulary lacks 'z', 'x'; expected characters of "
            "the train split's targets.",
        ),
        (
            {"prefix": "abc", "max_decoding_length": 2},
            "decode.prefix received 'abc', which is 3 target tokens long; expected at most "
            "decode.max_decoding_length "
            "(2). Shorten it, or raise decode.max_decoding_length.",
        ),
    ],
)
def test_a_prefix_that_cannot_be_written_is_refused_at_once(decode, message):
    with pytest.raises(UserError) as error:
        predictor(None, **decode)
    assert str(error.value) == message


def test_what_a_prefix_lacks_is_said_in_the_tokenizers_units():
    words = WordTokenizer.learn(Words(type="words"), [("good", 2), ("day", 1)])
    with pytest.raises(UserError, match="vocabulary lacks 'night'; expected words of the train split's"):
        predictor(None, words, prefix="good night")
    with pytest.raises(UserError, match=r"received ' ', in which the target tokenizer finds nothing; remove"):
        predictor(None, words, prefix=" ")
    assert predictor(None, words, prefix="good  day").prefix == (4, 5)


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        ({"beam_size": 0}, "greater than or equal to 1"),
        (
            {"min_length": 4, "max_decoding_length": 3},
            r"min_length received 4, expected at most max_decoding_length \(3\)",
        ),
        ({"beam_size": 2, "n_best": 3}, r"n_best received 3, expected at most beam_size \(2\)"),
        (
            {"beam_size": 4, "num_beam_groups": 3},
            r"num_beam_groups received 3, expected a divisor of beam_size \(4\)",
        ),
        (
            {"diversity_penalty": 0.5},
            "diversity_penalty received 0.5 for a single group; set num_beam_groups, or remove it",
        ),
        (
            {"sample": True, "num_beam_groups": 2},
            "num_beam_groups received 2 with sample, whose draws differ by themselves",
        ),
        ({"temperature": 0.5}, "temperature received 0.5, but nothing is drawn; set sample to true, or"),
        ({"top_k": 5}, "top_k received 5, but nothing is drawn"),
        ({"top_p": 0.9}, "top_p received 0.9, but nothing is drawn"),
        ({"prefix": ""}, "prefix received no text; remove it"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant(decode, message):
    with pytest.raises(ValidationError, match=message):
        DecodeConfig(**decode)


@pytest.mark.parametrize("pooling", ["attention", {"type": "hard_attention"}])
def test_a_classifier_with_attention_says_what_it_looked_at(pooling):
    config = {"embedding_size": 4, "encoder": {"type": "gru", "units": 6}, "pooling": pooling}
    sizes = {"text": tokenizer().vocabulary_size, "label": 2}
    model = build_model(ModelConfig.model_validate(config), "classification", sizes)
    classifying = Predictor("classification", model, {"text": tokenizer()}, ["x", "y"], None)
    assert classifying.looks
    tokens, weights = classifying.looked_at("é東 h")
    assert tokens == list("é東 h")
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    embedded = model.embedding(classifying._read(tf.constant(["é東 h"])))
    outputs = model.encoder(embedded)[0].numpy()[0]
    pooled = model.features(classifying._read(tf.constant(["é東 h"]))).numpy()[0]
    np.testing.assert_allclose(np.asarray(weights) @ outputs, pooled, rtol=1e-4, atol=1e-5)
    assert classifying.looked_at("") == ([], [])
    np.testing.assert_allclose(classifying.unknown_shares(["abc", "", "aZcZ", "ZZ"]), [0, 0, 0.5, 1])


@pytest.mark.parametrize(
    ("encoder", "pooling"),
    [
        ({"type": "gru", "units": 6}, "max"),
        ({"type": "cnn_lstm", "units": 6, "filters": 3, "pool_size": 2}, "attention"),
    ],
)
def test_without_a_weight_for_every_token_there_is_nothing_to_look_at(encoder, pooling):
    config = {"embedding_size": 4, "encoder": encoder, "pooling": pooling}
    sizes = {"text": tokenizer().vocabulary_size, "label": 2}
    model = build_model(ModelConfig.model_validate(config), "classification", sizes)
    classifying = Predictor("classification", model, {"text": tokenizer()}, ["x", "y"], None)
    assert not classifying.looks
    with pytest.raises(ValueError, match="no attention pooling over its tokens"):
        classifying.looked_at("abc")
