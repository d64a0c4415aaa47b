from __future__ import annotations

import pytest
import tensorflow as tf
from made_artifacts import make_examples, make_tokens
from pydantic import TypeAdapter
from stage_runner import run_on_nothing, run_stage

from components import files
from components.artifacts.examples import Examples
from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.ingest import parts as ingest_parts
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from components.ingest.transform import Ingest
from components.reports import Progress, Warned, listening
from components.strict import FIELDS, SPLITS
from components.tokenize import count
from components.tokenize.config import TokenizeConfig
from components.tokenize.transform import Tokenize
from components.work import Work

PAIRS = {
    "train": [[("one two three", "1 2 3"), ("two", "2")], [("three\n\t three four", "3 3 4"), ("été", "5")]],
    "validation": [[("four five", "4 5")]],
    "test": [[("two one", "2 1"), ("three", "3")]],
}
LABELLED = {
    "train": [[("good film", "pos"), ("bad film", "neg"), ("so so", "neutral, or not")]],
    "test": [[("good", "pos"), ("film", "unheard of"), ("bad", "neg"), ("so", "new")]],
}


def configure(**fields):
    return TypeAdapter(TokenizeConfig).validate_python(fields)


WORDS = configure(source={"type": "words"}, target={"type": "characters"})
TEXT = configure(text={"type": "words"})


@pytest.fixture
def run(tmp_path):
    """Makes an ingest artifact, tokenizes it, and returns the artifact and the events."""

    def run(examples, task, config, root=tmp_path):
        made = make_examples(root, task, examples)
        events = []
        with listening(events.append):
            tokens = run_stage(
                lambda work: Tokenize(config, task, work), Tokens, {"ingest": made.reference}, root
            )
        return tokens, events

    return run


def read(tokens, name, task="seq2seq"):
    """The token examples of a file, each as lists by field."""
    return [
        dict(zip(FIELDS[task], row, strict=True))
        for batch in tokens.batches(name, FIELDS[task], 1)
        for row in zip(*(column.to_pylist() for column in batch.values()), strict=True)
    ]


def warned(events):
    return [event.message for event in events if isinstance(event, Warned)]


TYPES = [
    ({"type": "characters", "normalize": "nfkc"}, {"type": "words"}),
    ({"type": "wordpiece", "vocabulary_size": 60}, {"type": "sentencepiece", "vocabulary_size": 40}),
    (
        {"type": "sentencepiece", "model_type": "bpe", "max_sequence_length": 3, "case_fold": True},
        {"type": "characters"},
    ),
]


@pytest.mark.parametrize(("source", "target"), TYPES, ids=str)
def test_tokens_are_those_of_the_saved_tokenizers(run, source, target):
    tokens, _ = run(PAIRS, "seq2seq", configure(source=source, target=target))
    for split, parts in PAIRS.items():
        assert tokens.count(split) == sum(map(len, parts))
        for name, part in zip(tokens.parts_of(split), parts, strict=True):
            rows = read(tokens, name)
            for column, field in enumerate(("source", "target")):
                saved = tokens.tokenizer(field)
                texts = tf.constant([values[column] for values in part])
                assert [row[field] for row in rows] == saved.tokenize(texts).to_list()
                assert tokens.summary["vocabulary"][field] == saved.vocabulary_size
    assert tokens.names("tokens/") == [
        "tokens/test-00000.parquet",
        "tokens/train-00000.parquet",
        "tokens/train-00001.parquet",
        "tokens/validation-00000.parquet",
    ]
    assert "labels" not in tokens.summary
    assert not tokens.has("tokenizer/labels.txt")


def test_vocabulary_is_that_of_the_train_split(run):
    tokens, _ = run(PAIRS, "seq2seq", WORDS)
    assert tokens.tokenizer("source").pieces[4:] == ("three", "two", "four", "one", "été")
    assert read(tokens, "tokens/validation-00000.parquet")[0]["source"] == [6, 1]


def test_labels(run):
    tokens, events = run(LABELLED, "classification", TEXT)
    assert tokens.read("tokenizer/labels.txt") == b"neg\nneutral, or not\npos\n"
    assert tokens.labels() == ["neg", "neutral, or not", "pos"]
    train = read(tokens, "tokens/train-00000.parquet", "classification")
    assert [row["label"] for row in train] == [2, 0, 1]
    test = read(tokens, "tokens/test-00000.parquet", "classification")
    assert [row["label"] for row in test] == [2, -1, 0, -1]
    assert tokens.summary["labels"] == 3
    assert tokens.statistics()["unknown_labels"] == {"train": 0, "test": 2}
    message = (
        "Examples of test with a label that the train split does not have: 2. None of them can be answered"
    )
    assert [message in warning for warning in warned(events)] == [True]
    assert tokens.summary["warnings"] == tokens.statistics()["warnings"] == warned(events)


@pytest.mark.parametrize("labels", [["a"], ["", "x y", "\u2028", "é"]])
def test_labels_file(tmp_path, labels):
    assert make_tokens(tmp_path, "classification", {}, labels=labels).labels() == labels


def test_statistics(run):
    examples = {
        "train": [[("a b", "x"), ("a", "x")], [("a b c d e", "x"), ("", "x")]],
        "test": [[("a z", "x")]],
    }
    config = configure(text={"type": "words", "max_sequence_length": 4, "min_count": 2})
    tokens, _ = run(examples, "classification", config)
    found = tokens.statistics()["fields"]["text"]
    assert found["vocabulary_size"] == 6
    assert found["splits"] == {
        "train": {
            "texts": 4,
            "tokens": {"min": 0, "mean": 2.0, "median": 1, "p95": 5, "max": 5},
            "unknown": round(2 / 7, 6),
            "cut": 0.25,
        },
        "test": {
            "texts": 1,
            "tokens": {"min": 2, "mean": 2.0, "median": 2, "p95": 2, "max": 2},
            "unknown": 0.5,
            "cut": 0.0,
        },
    }
    assert tokens.statistics()["labels"] == 1
    cut, unknown = tokens.summary["warnings"]
    assert unknown.startswith(
        "Unknown tokens in `text` of test: 50.0%. Raise `tokenize.text.vocabulary_size`"
    )
    assert cut.startswith("Texts cut in `text` of train: 25.0% have more than 4 tokens (95 % have at most 5)")
    assert "Raise `tokenize.text.max_sequence_length`" in cut


def test_few_unknown_and_cut_texts_are_no_matter(run):
    train = [("a", "x")] * 99 + [("a a a", "x")]
    test = [("a", "x")] * 19 + [("z", "x")]
    config = configure(text={"type": "words", "max_sequence_length": 2})
    assert run({"train": [train], "test": [test]}, "classification", config)[0].summary["warnings"] == []
    assert (
        len(run({"train": [train[1:]], "test": [test[1:]]}, "classification", config)[0].summary["warnings"])
        == 2
    )


@pytest.mark.parametrize("type_", ["wordpiece", "sentencepiece"])
def test_vocabulary_smaller_than_asked_for(run, type_):
    config = configure(source={"type": type_, "vocabulary_size": 900}, target={"type": "words"})
    tokens, events = run(PAIRS, "seq2seq", config)
    message = (
        "train split gives only {} tokens for `source`: less than `tokenize.source.vocabulary_size`, 900"
    )
    assert message.format(tokens.summary["vocabulary"]["source"]) in warned(events)[0]


def test_progress(run):
    _, events = run(PAIRS, "seq2seq", WORDS)
    steps = [event for event in events if isinstance(event, Progress)]
    assert {event.stage for event in steps} == {"tokenize"}
    told = {
        message: [e for e in steps if e.message == message]
        for message in ("counting", "learning", "encoding")
    }
    assert [len(some) > 0 for some in told.values()] == [True] * 3
    assert (told["counting"][-1].done, told["counting"][-1].total) == (4, 4)
    assert (told["encoding"][-1].done, told["encoding"][-1].total) == (7, 7)
    assert [(event.done, event.total) for event in told["learning"]] == [(0, 2), (1, 2)]


def contents(tokens):
    return {name: tokens.read(name) for name in tokens.names()}


@pytest.mark.parametrize(("source", "target"), TYPES, ids=str)
def test_the_same_input_gives_the_same_files(run, source, target, monkeypatch):
    config = configure(source=source, target=target)
    first, _ = run(PAIRS, "seq2seq", config)
    monkeypatch.setattr(count, "_MOST_IN_MEMORY", 2)  # passed on in other portions, too
    second, _ = run(PAIRS, "seq2seq", config)
    assert contents(first) == contents(second)
    assert first.manifest.digests == second.manifest.digests
    assert len(contents(first)) >= 7


def test_follows_ingest_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_parts, "PART_BYTES", 2000)
    lines = "".join(f"{i} + {i}\t{2 * i}\n" for i in range(400))
    (tmp_path / "pairs.tsv").write_text(f"source\ttarget\n{lines}")
    config = IngestConfig(files=str(tmp_path / "pairs.tsv"))
    sources = find_sources(config, "seq2seq")
    examples = run_stage(lambda work: Ingest(config, "seq2seq", sources, work), Examples, {}, tmp_path)
    inputs = {"ingest": examples.reference}
    tokens = run_stage(lambda work: Tokenize(WORDS, "seq2seq", work), Tokens, inputs, tmp_path)
    target = tokens.tokenizer("target")
    for split in SPLITS:
        assert len(tokens.parts_of(split)) == len(examples.parts_of(split)) > 1
        assert tokens.count(split) == examples.count(split) > 0
        for name, of in zip(tokens.parts_of(split), examples.parts_of(split), strict=True):
            texts = [text for batch in examples.batches(of, ["target"]) for text in batch["target"]]
            assert [row["target"] for row in read(tokens, name)] == target.tokenize(texts).to_list()


def test_what_lists_all_parts_is_not_read_again_for_every_part(tmp_path, monkeypatch):
    lines = "".join(f"{i} + {i}\t{2 * i}\n" for i in range(400))
    (tmp_path / "pairs.tsv").write_text(f"source\ttarget\n{lines}")
    config = IngestConfig(files=str(tmp_path / "pairs.tsv"))
    sources, load, parts, reads = find_sources(config, "seq2seq"), Examples.load, [], []
    for size in (4000, 500):
        monkeypatch.setattr(ingest_parts, "PART_BYTES", size)
        root = tmp_path / str(size)
        examples = run_stage(lambda work: Ingest(config, "seq2seq", sources, work), Examples, {}, root)
        parts.append(len(examples.parts_of("train")))
        loaded = []
        monkeypatch.setattr(
            Examples, "load", lambda reference, loaded=loaded: loaded.append(1) or load(reference)
        )
        run_stage(lambda work: Tokenize(WORDS, "seq2seq", work), Tokens, {"ingest": examples.reference}, root)
        monkeypatch.setattr(Examples, "load", load)
        reads.append(len(loaded))
    assert parts[0] < parts[1]
    assert reads[0] == reads[1] < parts[1]


def test_batches_of_tokens(tmp_path):
    rows = [(list(range(number % 5)), number) for number in range(5000)]
    tokens = make_tokens(tmp_path, "classification", {"train": [rows]})
    batches = list(tokens.batches("tokens/train-00000.parquet", ["label", "text"], 2000))
    assert [len(batch["text"]) for batch in batches] == [2000, 2000, 1000]
    assert [str(column.type) for column in batches[0].values()] == ["int32", "list<element: int32>"]
    assert batches[1]["text"].value_lengths().to_pylist() == [number % 5 for number in range(2000, 4000)]
    assert batches[2]["label"].to_pylist() == list(range(4000, 5000))
    with pytest.raises(KeyError, match="has no column 'target', it has: text, label"):
        next(tokens.batches("tokens/train-00000.parquet", ["target"]))


@pytest.mark.parametrize(("source", "target"), TYPES[1:], ids=str)
def test_a_root_in_memory(run, tmp_path, source, target):
    config = configure(source=source, target=target)
    here, _ = run(PAIRS, "seq2seq", config)
    away, _ = run(PAIRS, "seq2seq", config, root=f"memory://{tmp_path.name}")
    assert contents(here) == contents(away)
    assert away.tokenizer("target").pieces == here.tokenizer("target").pieces
    assert files.exists(away.place("tokens/train-00001.parquet"))


def test_nothing_is_made_of_an_empty_collection(tmp_path):
    assert run_on_nothing(lambda work: Tokenize(WORDS, "seq2seq", work), Tokens, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("task", "fields", "received", "expected"),
    [
        ("seq2seq", ["text"], "text", "source and target"),
        ("seq2seq", ["source"], "source", "source and target"),
        ("classification", [], "none", "text"),
        ("classification", ["text", "target"], "text and target", "text"),
    ],
)
def test_tokenizers_that_do_not_suit_the_task(task, fields, received, expected):
    config = configure(**{field: {"type": "words"} for field in fields})
    message = f"received tokenizers for {received}, expected {expected} for {task}. Correct the section"
    with pytest.raises(UserError, match=message):
        Tokenize(config, task, Work(None, "tokenize", "key"))


def test_vocabulary_too_small_for_the_characters(run):
    config = configure(source={"type": "words"}, target={"type": "sentencepiece", "vocabulary_size": 6})
    with pytest.raises(UserError, match=r"tokenize\.target: vocabulary_size is 6, but .* need 10\. Set"):
        run(PAIRS, "seq2seq", config)


def test_nothing_to_learn_from(run):
    with pytest.raises(UserError, match=r"type words finds no token in `text` of the train split.*Check"):
        run({"train": [[("\u3000 \n", "x")]]}, "classification", TEXT)
