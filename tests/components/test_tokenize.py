from __future__ import annotations

import json

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from pydantic import TypeAdapter

from components.errors import UserError
from components.events import StageProgress, Warned, listening
from components.examples import encode_text, shard_name
from components.ingest.config import IngestConfig
from components.ingest.transform import Ingest
from components.strict import FIELDS, SPLITS
from components.tokenize import count
from components.tokenize.config import TokenizeConfig
from components.tokenize.labels import read_labels, write_labels
from components.tokenize.tokenizers import load_tokenizer
from components.tokenize.transform import Tokenize

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
    """Writes an ingest artifact, tokenizes it, and returns summary, artifact and events."""
    number = 0

    def run(examples, task, config):
        nonlocal number
        number += 1
        ingest, output = tmp_path / f"ingest{number}", tmp_path / f"tokenize{number}"
        (ingest / "examples").mkdir(parents=True)
        output.mkdir()
        counts = {split: {"examples": sum(map(len, examples.get(split, [])))} for split in SPLITS}
        (ingest / "statistics.json").write_text(json.dumps({"splits": counts}))
        for split, shards in examples.items():
            for index, shard in enumerate(shards):
                path = ingest / "examples" / shard_name(split, index, len(shards))
                with tf.io.TFRecordWriter(str(path)) as writer:
                    for values in shard:
                        writer.write(encode_text(dict(zip(FIELDS[task], values, strict=True))))
        summary = tmp_path / f"summary{number}.json"
        events = []
        with listening(events.append), pipeline() as p:
            _ = (
                p
                | beam.Create([{"ingest": str(ingest)}])
                | Tokenize(config=config, task=task, output=str(output))
                | beam.Map(lambda found: summary.write_text(json.dumps(found)))
            )
        return json.loads(summary.read_text()), output, events

    return run


def pipeline():
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))


def read(path):
    """The token examples of a shard, each as lists by field."""
    rows = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        rows.append({field: list(features[field].int64_list.value) for field in sorted(features)})
    return rows


def statistics(output):
    return json.loads((output / "statistics.json").read_text(encoding="utf-8"))


def warned(events):
    return [event.message for event in events if isinstance(event, Warned)]


TYPES = [
    ({"type": "characters", "normalize": "nfkc"}, {"type": "words"}),
    ({"type": "wordpiece", "vocabulary_size": 60}, {"type": "sentencepiece", "vocabulary_size": 40}),
    ({"type": "sentencepiece", "model": "bpe", "max_length": 3, "lowercase": True}, {"type": "characters"}),
]


@pytest.mark.parametrize(("source", "target"), TYPES, ids=str)
def test_tokens_are_those_of_the_saved_tokenizers(run, source, target):
    summary, output, _ = run(PAIRS, "seq2seq", configure(source=source, target=target))
    for split, shards in PAIRS.items():
        for index, shard in enumerate(shards):
            rows = read(output / "tokens" / shard_name(split, index, len(shards)))
            for column, field in enumerate(("source", "target")):
                saved = load_tokenizer(str(output / "tokenizer" / field))
                texts = tf.constant([values[column] for values in shard])
                assert [row[field] for row in rows] == saved.tokenize(texts).to_list()
                assert summary["vocabulary"][field] == saved.vocabulary_size
    assert sorted(path.name for path in (output / "tokens").iterdir()) == [
        "test-00000-of-00001.tfrecord",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
        "validation-00000-of-00001.tfrecord",
    ]
    assert "labels" not in summary
    assert not (output / "tokenizer" / "labels.txt").exists()


def test_vocabulary_is_that_of_the_train_split(run):
    _, output, _ = run(PAIRS, "seq2seq", WORDS)
    pieces = load_tokenizer(str(output / "tokenizer" / "source")).pieces
    assert pieces[4:] == ("three", "two", "four", "one", "été")
    assert read(output / "tokens" / "validation-00000-of-00001.tfrecord")[0]["source"] == [6, 1]


def test_labels(run):
    summary, output, events = run(LABELLED, "classification", TEXT)
    assert (output / "tokenizer" / "labels.txt").read_text() == "neg\nneutral, or not\npos\n"
    assert [row["label"] for row in read(output / "tokens" / "train-00000-of-00001.tfrecord")] == [
        [2],
        [0],
        [1],
    ]
    test = read(output / "tokens" / "test-00000-of-00001.tfrecord")
    assert [row["label"] for row in test] == [[2], [-1], [0], [-1]]
    assert summary["labels"] == 3
    assert statistics(output)["unknown_labels"] == {"train": 0, "test": 2}
    message = (
        "Examples of test with a label that the train split does not have: 2. None of them can be answered"
    )
    assert [message in warning for warning in warned(events)] == [True]
    assert summary["warnings"] == statistics(output)["warnings"] == warned(events)


@pytest.mark.parametrize("labels", [["a"], ["", "x y", "\u2028", "é"]])
def test_labels_file(tmp_path, labels):
    write_labels(str(tmp_path), labels)
    assert read_labels(str(tmp_path)) == labels


def test_statistics(run):
    examples = {
        "train": [[("a b", "x"), ("a", "x")], [("a b c d e", "x"), ("", "x")]],
        "test": [[("a z", "x")]],
    }
    config = configure(text={"type": "words", "max_length": 4, "min_count": 2})
    summary, output, _ = run(examples, "classification", config)
    found = statistics(output)["fields"]["text"]
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
    assert statistics(output)["labels"] == 1
    cut, unknown = summary["warnings"]
    assert unknown.startswith(
        "Unknown tokens in `text` of test: 50.0%. Raise `tokenize.text.vocabulary_size`"
    )
    assert cut.startswith("Texts cut in `text` of train: 25.0% have more than 4 tokens (95 % have at most 5)")
    assert "Raise `tokenize.text.max_length`" in cut


def test_few_unknown_and_cut_texts_are_no_matter(run):
    train = [("a", "x")] * 99 + [("a a a", "x")]
    test = [("a", "x")] * 19 + [("z", "x")]
    config = configure(text={"type": "words", "max_length": 2})
    assert run({"train": [train], "test": [test]}, "classification", config)[0]["warnings"] == []
    assert len(run({"train": [train[1:]], "test": [test[1:]]}, "classification", config)[0]["warnings"]) == 2


@pytest.mark.parametrize("type_", ["wordpiece", "sentencepiece"])
def test_vocabulary_smaller_than_asked_for(run, type_):
    config = configure(source={"type": type_, "vocabulary_size": 900}, target={"type": "words"})
    summary, _, events = run(PAIRS, "seq2seq", config)
    message = (
        "train split gives only {} tokens for `source`: less than `tokenize.source.vocabulary_size`, 900"
    )
    assert message.format(summary["vocabulary"]["source"]) in warned(events)[0]


def test_progress(run):
    _, _, events = run(PAIRS, "seq2seq", WORDS)
    steps = [event for event in events if isinstance(event, StageProgress)]
    assert {event.stage for event in steps} == {"tokenize"}
    told = {
        message: [e for e in steps if e.message == message]
        for message in ("counting", "learning", "encoding")
    }
    assert [len(some) > 0 for some in told.values()] == [True] * 3
    assert (told["counting"][-1].done, told["counting"][-1].total) == (4, 4)
    assert (told["encoding"][-1].done, told["encoding"][-1].total) == (7, 7)
    assert [(event.done, event.total) for event in told["learning"]] == [(0, 2), (1, 2)]


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(("source", "target"), TYPES, ids=str)
def test_the_same_input_gives_the_same_files(run, source, target, monkeypatch):
    config = configure(source=source, target=target)
    _, first, _ = run(PAIRS, "seq2seq", config)
    monkeypatch.setattr(count, "_MOST_IN_MEMORY", 2)  # passed on in other portions, too
    _, second, _ = run(PAIRS, "seq2seq", config)
    assert files(first) == files(second)
    assert len(files(first)) >= 7


def test_follows_ingest_in_one_pipeline(tmp_path):
    (tmp_path / "pairs.tsv").write_text(
        "source\ttarget\n" + "".join(f"{i} + {i}\t{2 * i}\n" for i in range(400))
    )
    directories = {stage: tmp_path / stage for stage in ("ingest", "tokenize")}
    for directory in directories.values():
        directory.mkdir()
    with pipeline() as p:
        _ = (
            p
            | beam.Create([{}])
            | Ingest(
                config=IngestConfig(files=str(tmp_path / "pairs.tsv")),
                task="seq2seq",
                output=str(directories["ingest"]),
            )
            | beam.Map(lambda _: {"ingest": str(directories["ingest"])})
            | Tokenize(config=WORDS, task="seq2seq", output=str(directories["tokenize"]))
        )
    shards = [f"{split}-00000-of-00001.tfrecord" for split in ("test", "train", "validation")]
    assert sorted(path.name for path in (directories["tokenize"] / "tokens").iterdir()) == shards
    for shard in shards:
        texts = tf.data.TFRecordDataset(str(directories["ingest"] / "examples" / shard))
        assert len(list(texts)) == len(read(directories["tokenize"] / "tokens" / shard)) > 0


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
        Tokenize(config=config, task=task, output="")


def test_vocabulary_too_small_for_the_characters(run):
    config = configure(source={"type": "words"}, target={"type": "sentencepiece", "vocabulary_size": 6})
    with pytest.raises(UserError, match=r"tokenize\.target: vocabulary_size is 6, but .* need 10\. Set"):
        run(PAIRS, "seq2seq", config)


def test_nothing_to_learn_from(run):
    with pytest.raises(UserError, match=r"type words finds no token in `text` of the train split.*Check"):
        run({"train": [[("\u3000 \n", "x")]]}, "classification", TEXT)
