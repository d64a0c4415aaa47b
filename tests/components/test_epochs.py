"""For how many epochs is trained where nothing is said of it."""

import pytest
from tiny_training import make_texts, train

from components.train.config import TrainConfig
from components.train.epochs import default_epochs, settled_epochs


@pytest.mark.parametrize(
    ("tokens", "epochs"),
    [(0, 10), (130_000, 10), (500_000, 10), (1_000_000, 5), (6_000_000, 4), (10**9, 4)],
)
def test_a_classifier_of_much_text_takes_fewer(tokens, epochs):
    number, why = default_epochs("classification", tokens)
    assert number == epochs
    assert why == f"at most {epochs} epochs, as each reads {tokens:,} tokens"


def test_text_to_text_takes_ten():
    assert default_epochs("seq2seq", 10**9) == (10, "at most 10 epochs")


def test_what_is_written_stays():
    written = TrainConfig(epochs=3)
    assert settled_epochs(written, "classification", 10**9) == (written, {})


def test_a_training_takes_as_many_as_are_chosen(tmp_path, monkeypatch):
    tokens = make_texts(tmp_path)
    monkeypatch.setattr("components.train.epochs._LEAST", 1)
    monkeypatch.setattr("components.train.epochs._TOKENS", 0)
    chosen = train(tokens, tmp_path, "left out", epochs=None, learning_rate_schedule="cosine")
    written = train(tokens, tmp_path, "written", epochs=1, learning_rate_schedule="cosine")
    assert chosen.summary["chosen"]["train"]["settings"] == {"epochs": 1}
    assert chosen.summary["epochs"] == 1
    assert "chosen" not in written.summary
    assert chosen.summary["weights"] == written.summary["weights"]  # the schedule ends with them, too
