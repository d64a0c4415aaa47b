"""Tokenizer, lengths, network and training that suit what was counted; every choice with its reason."""

from __future__ import annotations

from statistics import mean
from typing import Any, NamedTuple

from components.models.dropout import default_dropout
from components.strict import SPLITS, Split, Task
from components.tokenize.choices import choose_kind, choose_length
from components.tokenize.config import TokenizerConfig
from components.tokenize.lengths import Lengths
from components.train.epochs import default_epochs
from pipeline.init.statistics import Statistics

_WISHED_TEST = 200  # examples, under which an interval is wider than most differences
_SURE = 5  # examples held out by chance, of which there is hardly ever none
_MANY = 10_000  # examples; with fewer it counts that there are enough steps
_RARE = 0.05  # of the examples


class Choice(NamedTuple):
    """A section, and why it is so.

    Args:
        settings: of the configuration.
        why: in words.
    """

    settings: dict[str, Any]
    why: str


def tokenizer_of(field: str, lengths: Lengths, total: int, task: Task) -> Choice:
    """Chooses the tokenizer of a field.

    Args:
        field: text, source or target.
        lengths: of its texts.
        total: examples of the training files.
        task: seq2seq wants text that can be put together again as it was.
    """
    kind = choose_kind(lengths, total, task)
    unit = kind.settings["type"]
    if unit == "characters":
        length = choose_length(field, lengths.characters, "characters")
    elif unit == "words":
        length = choose_length(field, lengths.words, "words")
    else:
        pieces = [round(count * (kind.tokens or 1.0)) for count in lengths.words]
        length = choose_length(field, pieces, "pieces, by a rule of thumb")
    why = kind.why if unit == "sentencepiece" else f"{unit}: {kind.why}"
    return Choice({**kind.settings, "max_sequence_length": length.tokens}, f"{why}; {length.why}")


def model_of(task: Task, total: int, tokenizer: TokenizerConfig) -> Choice:
    """Chooses the network.

    Args:
        task: what it learns.
        total: examples of the training files.
        tokenizer: of the text that it reads.
    """
    units = 64 if total < 2_000 else 128
    encoder = {"type": "gru", "units": units, "bidirectional": True}
    if task == "classification":
        dropout, why = default_dropout(tokenizer)
        settings = {"embedding_size": 64, "dropout": dropout, "encoder": encoder, "pooling": "max"}
        told = f"a GRU in both directions; {why}; other encoders, and their keys: `rnnpipe schema`"
        return Choice(settings, told)
    settings = {
        "encoder": encoder,
        "attention": {"type": "bahdanau"},
        "decoder": {"type": "gru", "units": units},
    }
    return Choice(settings, "a GRU with attention; other layers, and their keys: `rnnpipe schema`")


def read_tokens(lengths: Lengths, tokenizer: TokenizerConfig, total: int) -> int:
    """Returns about how many tokens an epoch reads.

    Args:
        lengths: of texts that stand for all.
        tokenizer: which reads them; pieces of words are counted as words.
        total: examples of the training files.
    """
    counted = lengths.characters if tokenizer.type == "characters" else lengths.words
    longest = tokenizer.max_sequence_length
    return round(total * mean(min(count, longest) for count in counted)) if counted else 0


def training_of(task: Task, total: int, tokens: int, validated: bool = True) -> Choice:
    """Chooses how long is trained, and in which steps: some thousand of them.

    Args:
        task: what is learnt.
        total: examples of the training files.
        tokens: that an epoch reads.
        validated: whether there are certain to be validation examples.
    """
    kept = "the best epoch are kept" + ("" if validated else ", of the last one if there is no validation")
    epochs, batch = (
        (20, 16)
        if total < 1_000
        else (15, 32)
        if total < _MANY
        else (10, 64)
        if total < 200_000
        else (4, 128)
    )
    if total >= _MANY:
        epochs = min(epochs, default_epochs(task, tokens)[0])
    return Choice(
        {
            "epochs": epochs,
            "batch_size": batch,
            "optimizer": {"type": "adam", "learning_rate": 0.003},
            "learning_rate_schedule": "cosine",
            "early_stopping": {"patience": 3},
        },
        f"for about {total:,} examples; the weights of {kept}",
    )


def holdout_of(found: dict[Split, Statistics]) -> Choice | None:
    """Chooses the fractions of train that become the splits without files; None where all have some."""
    total = found["train"].estimate
    missing: list[Split] = [split for split in ("validation", "test") if split not in found]
    if not missing:
        return None
    test = 0.1 if total >= 10 * _WISHED_TEST else 0.2
    holdout = {split: test if split == "test" else 0.1 for split in missing}
    told = " and ".join(f"{_about(round(total * part))} for {split}" for split, part in holdout.items())
    settings: dict[str, Any] = {"holdout": holdout}
    labels = found["train"].labels
    if labels and (total < 20_000 or min(labels.values()) < _RARE * labels.total()):
        settings["split"] = "stratified"
        told += ", with the same part of every label"
    return Choice(settings, told)


def size_of(split: Split, found: dict[Split, Statistics], holdout: Choice | None) -> int:
    """Returns about how many examples a split that is not trained on will have."""
    if split in found:
        return found[split].estimate
    fraction = holdout.settings["holdout"][split] if holdout else 0.0
    return round(found["train"].estimate * fraction)


def _about(examples: int) -> str:
    return f"about {examples:,} example{'s' * (examples != 1)}"


def is_sure(split: Split, found: dict[Split, Statistics], holdout: Choice | None) -> bool:
    """Whether a split is certain to have examples: which are held out is drawn, so of few it may be none."""
    return split in found or size_of(split, found, holdout) >= _SURE


def holdout_warnings(found: dict[Split, Statistics], holdout: Choice | None) -> list[str]:
    """Warns of splits that may be empty."""
    without = {
        "validation": "the last epoch's weights are kept, the best or not",
        "test": "nothing is measured",
    }
    return [
        f"held out for {split}: {_about(size_of(split, found, holdout))}, perhaps none: then "
        f"{without[split]}. Add records, or give {split} files of its own."
        for split in SPLITS
        if split in without and not is_sure(split, found, holdout)
    ]
