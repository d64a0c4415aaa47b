"""What is settled in a network when it is known what it reads."""

import pytest
from made_artifacts import make_tokens
from tiny_training import MODEL, TOKENIZER, make_pairs, make_texts, text_rows, train

from components.models.config import ModelConfig
from components.models.dropout import default_dropout
from components.tokenize.config import tokenizer_config
from components.tokenize.tokenizers import SPECIAL_TOKENS, WordTokenizer
from components.train.network import built

GRU = {"embedding_size": 8, "encoder": {"type": "gru", "units": 8}}
KINDS = {"characters": 0.0, "words": 0.5, "whitespace": 0.5, "wordpiece": 0.5, "sentencepiece": 0.5}


def make_words(root):
    config = tokenizer_config({"type": "words"})
    tokenizer = WordTokenizer(config, [*SPECIAL_TOKENS, *(f"word{letter}" for letter in "abcdef")])
    return make_tokens(root, "classification", text_rows(), {"text": tokenizer}, ["no", "yes"])


@pytest.mark.parametrize(("kind", "rate"), KINDS.items())
def test_dropout_follows_from_how_often_tokens_are_seen(kind, rate):
    chosen, why = default_dropout(tokenizer_config({"type": kind}))
    assert chosen == rate
    assert ("0.5" in why) == bool(rate)


def test_words_are_trained_with_dropout_and_the_record_says_so(tmp_path):
    left_out = ModelConfig.model_validate(GRU)
    written = ModelConfig.model_validate({**GRU, "dropout": 0.5})
    tokens = make_words(tmp_path)
    chosen = train(tokens, tmp_path, "left out", left_out, epochs=1)
    same = train(tokens, tmp_path, "written", written, epochs=1)
    without = train(tokens, tmp_path, "without", ModelConfig.model_validate({**GRU, "dropout": 0}), epochs=1)
    assert chosen.summary["chosen"]["model"]["settings"] == {"dropout": 0.5}
    assert "chosen" not in same.summary
    assert chosen.model_config()["config"]["dropout"] == 0.5
    assert chosen.summary["weights"] == same.summary["weights"] != without.summary["weights"]


def test_characters_are_trained_without(tmp_path):
    assert TOKENIZER.config.rarely_seen is False
    network, chosen = built(ModelConfig.model_validate(GRU), "classification", make_texts(tmp_path), None)
    assert network.dropout == 0.0
    assert chosen["model"]["why"].startswith("no dropout")


def test_what_is_written_stays(tmp_path):
    assert built(MODEL, "classification", make_words(tmp_path), None) == (MODEL, {})


def test_text_to_text_and_closed_forms_have_none(tmp_path):
    closed = ModelConfig.model_validate({"encoder": {"type": "echo_state_rnn"}, "readout": {"type": "ridge"}})
    assert built(closed, "classification", make_words(tmp_path / "words"), None) == (closed, {})
    pairs = ModelConfig.model_validate({**GRU, "decoder": {"type": "gru", "units": 8}})
    assert built(pairs, "seq2seq", make_pairs(tmp_path / "pairs"), None) == (pairs, {})
