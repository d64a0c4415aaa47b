"""The memory network as an encoder, and how it learns which token ends a sentence."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_artifacts import make_tokens

from components.errors import UserError
from components.models.build import build_model
from components.models.config import ModelConfig
from components.tokenize.config import Characters, Words
from components.tokenize.tokenizers import SPECIAL_TOKENS, CharacterTokenizer, WordTokenizer
from components.train.start import new_model

WORDS = ["Mia", "goes", "to", "the", "attic", "|", "where", "is", "?", "stop"]
STORY = "Mia goes to the attic | where is Mia ?"


def config(decoder=None, **settings):
    encoder = {"type": "memory_network", "units": 6, "hops": 2, **settings}
    attention = {"attention": {"type": "bahdanau"}, "decoder": {"type": "gru", "units": 4}} if decoder else {}
    return ModelConfig.model_validate({"embedding_size": 5, "encoder": encoder, **attention})


def artifact(root, **tokenizers):
    """Makes what new_model needs of a tokenize artifact."""
    tokenizer = WordTokenizer(Words(type="words", case_fold=True), lowered(WORDS))
    fields = dict.fromkeys(("text", "source", "target"), tokenizer)
    return make_tokens(root, "classification", {}, fields | tokenizers, ["attic", "cellar"])


def lowered(words):
    return [*SPECIAL_TOKENS, *(word.lower() for word in words)]


@pytest.mark.parametrize(("task", "decoder"), [("classification", None), ("seq2seq", "gru")])
def test_a_new_model_knows_the_separator_and_a_loaded_one_too(task, decoder, tmp_path):
    model = new_model(config(decoder), task, artifact(tmp_path), seed=1)
    separator = len(SPECIAL_TOKENS) + WORDS.index("|")
    assert int(model.encoder.separator_id) == separator
    model.save(tmp_path / "model.keras")
    assert int(keras.models.load_model(tmp_path / "model.keras").encoder.separator_id) == separator


def test_the_separator_is_tokenized_as_the_texts_are(tmp_path):
    """Here in lower case."""
    model = new_model(config(separator="STOP"), "classification", artifact(tmp_path), seed=1)
    assert int(model.encoder.separator_id) == len(SPECIAL_TOKENS) + WORDS.index("stop")


def test_a_word_tokenizer_leaves_the_separator_a_token():
    texts = tf.constant([STORY, STORY.replace(" | ", "|")])
    tokenizer = WordTokenizer(Words(type="words"), [*SPECIAL_TOKENS, *WORDS])
    assert WordTokenizer.count(texts, tokenizer.config)["|"] == 2
    first, second = tokenizer.tokenize(texts).to_list()
    assert first == second
    assert first.count(len(SPECIAL_TOKENS) + WORDS.index("|")) == 1


@pytest.mark.parametrize(
    ("separator", "found"), [("#", "<unk>"), ("goes to", "goes, to"), (" ", "none"), ("the|", "the, |")]
)
def test_a_separator_that_is_no_token_is_refused(separator, found, tmp_path):
    with pytest.raises(UserError) as error:
        new_model(config(separator=separator), "classification", artifact(tmp_path), seed=1)
    assert str(error.value) == (
        f"model.encoder.separator received {separator!r}, expected a token that the text tokenizer (words) "
        f"learnt from the train split, got {found}. Set it to the token that ends the sentences of your "
        "data, or put that token between them."
    )


def test_the_separator_of_seq2seq_is_one_of_the_source(tmp_path):
    letters = CharacterTokenizer(Characters(type="characters"), [*SPECIAL_TOKENS, "a", "b"])
    tokens = artifact(tmp_path, source=letters)
    with pytest.raises(UserError, match=r"that the source tokenizer \(characters\) learnt"):
        new_model(config("gru"), "seq2seq", tokens, seed=1)
    model = new_model(config("gru", separator="b"), "seq2seq", tokens, seed=1)
    assert int(model.encoder.separator_id) == len(SPECIAL_TOKENS) + 1


def test_an_empty_separator_is_refused():
    with pytest.raises(ValueError, match="at least 1 character"):
        config(separator="")


def test_the_settings_reach_the_layer():
    encoder = config(max_sentences=7).encoder.encoder(11)
    assert (encoder.vocabulary_size, encoder.units, encoder.hops, encoder.max_sentences) == (11, 6, 2, 7)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_a_classifier_reads_the_story(pooling):
    """The answer depends on its sentences, and not on the padding."""
    model = build_model(
        config().model_copy(update={"pooling": pooling}), "classification", {"text": 9, "label": 3}
    )
    model.encoder.set_separator(4)
    story = np.array([[5, 6, 4, 7, 8, 4, 5, 0, 0, 0]], "int32")
    other = np.array([[5, 7, 4, 7, 8, 4, 5, 0, 0, 0]], "int32")
    np.testing.assert_allclose(model(story), model(story[:, :7]), atol=1e-6)
    assert np.abs(model(story) - model(other)).max() > 1e-6
    assert np.isfinite(model(np.zeros((1, 3), "int32"))).all()


def test_a_decoder_attends_to_the_sentences():
    model = build_model(config("gru"), "seq2seq", {"source": 9, "target": 7})
    model.encoder.set_separator(4)
    source = np.array([[5, 6, 4, 7, 8, 4, 5], [5, 6, 0, 0, 0, 0, 0]], "int32")
    mask = model.encoder.compute_mask(source, source != 0)
    assert mask.numpy().tolist() == [[True, True, False, False], [False] * 4]
    previous = np.array([[2, 4]] * 2, "int32")
    logits = model({"source": source, "previous": previous})
    wide = model({"source": np.pad(source, [(0, 0), (0, 5)]), "previous": previous})
    np.testing.assert_allclose(logits, wide, atol=1e-6)
    assert np.isfinite(logits).all()
