import json
from pathlib import Path
from typing import ClassVar

import apache_beam as beam
import matplotlib.image
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.errors import UserError
from components.evaluate.config import METRICS, EvaluateConfig, Threshold
from components.evaluate.transform import Evaluate
from components.events import StageProgress, Warned, listening
from components.examples import encode_text, shard_name
from components.models.decode import DecodeConfig
from components.strict import FIELDS
from components.tokenize.labels import write_labels

HISTORY = {"epochs": [{"epoch": 1, "loss": 0.5, "val_loss": 0.6, "seconds": 1.0}], "best_epoch": 1}
ROWS = [
    ("drei", "3"),
    ("eins", "1"),
    ("café", "cafe\u0301"),
    ("zwei\u2028x", "2"),
    ("日本", "日本"),
    ("neun", "9"),
    ("elf", "11"),
]
ANSWERS = {
    "drei": "3",
    "eins": "7",
    "café": "caf\u00e9",
    "zwei\u2028x": "2",
    "日本": "日本",
    "neun": "99",
    "elf": "",
}


class Answering:
    """Looks answers up, in place of a model, and keeps the sizes of the batches."""

    loads = 0
    batches: ClassVar[list[int]] = []
    signatures: ClassVar = {}

    def __init__(self, tokenize_directory, model_path, task, decode):
        assert Path(tokenize_directory).name == "tokenize"
        assert Path(model_path).parts[-2:] == ("train", "model.keras")
        assert isinstance(decode, DecodeConfig)
        type(self).loads += 1

    def __call__(self, texts):
        self.batches.append(int(texts.shape[0]))
        found = [ANSWERS[text.decode()] for text in texts.numpy()]
        scores = [float("-inf") if answer == "" else 0.1 for answer in found]
        return {"prediction": tf.constant(found), "score": tf.constant(scores, tf.float32)}


class Explaining(Answering):
    """Says that each character of the answer comes from all of the source."""

    asked: ClassVar[list[str]] = []

    @property
    def signatures(self):
        return {"explain": self.explain}

    def explain(self, texts):
        self.asked.extend(text.decode() for text in texts.numpy())
        source = tf.strings.unicode_split(texts, "UTF-8").to_tensor()
        target = tf.strings.unicode_split(self(texts)["prediction"], "UTF-8").to_tensor()
        weights = tf.ones([len(texts), target.shape[1], source.shape[1]]) / 2
        return {"source_tokens": source, "target_tokens": target, "attention": weights}


@pytest.fixture
def upstream(tmp_path):
    """Makes the artifacts that evaluate reads; rows are cut into shards of three."""

    def make(rows, task="seq2seq", split="test", longest=64, kept=()):
        (tmp_path / "ingest" / "examples").mkdir(parents=True)
        shards = [rows[start : start + 3] for start in range(0, len(rows), 3)]
        for index, shard in enumerate(shards):
            path = tmp_path / "ingest" / "examples" / shard_name(split, index, len(shards))
            with tf.io.TFRecordWriter(str(path)) as writer:
                for row in shard:
                    writer.write(encode_text(dict(zip((*FIELDS[task], *kept), row, strict=True))))
        (tmp_path / "tokenize").mkdir()
        tokens = {"fields": {"target": {"splits": {split: {"tokens": {"p95": 60, "max": longest}}}}}}
        (tmp_path / "tokenize" / "statistics.json").write_text(json.dumps(tokens))
        write_labels(str(tmp_path / "tokenize"), sorted({row[1] for row in rows}))
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "history.json").write_text(json.dumps(HISTORY))
        return {stage: str(tmp_path / stage) for stage in ("ingest", "tokenize", "train")}

    return make


def run(directories, tmp_path, task="seq2seq", config=None, load=Answering):
    """Runs the stage; returns its output directory, its summary, and the events."""
    output = tmp_path / "evaluate"
    output.mkdir()
    summaries, events = tmp_path / "summary", []
    Answering.loads, Answering.batches[:] = 0, []
    stage = Evaluate(config or EvaluateConfig(batch_size=2), DecodeConfig(), task, str(output), load=load)
    with (
        listening(events.append),
        beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline,
    ):
        (
            pipeline
            | beam.Create([directories])
            | stage
            | "as JSON" >> beam.Map(json.dumps)
            | beam.io.WriteToText(str(summaries), shard_name_template="")
        )
    (summary,) = summaries.read_text().splitlines()
    return output, json.loads(summary), events


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_seq2seq(upstream, tmp_path):
    output, summary, events = run(upstream(ROWS), tmp_path)

    lines = (output / "predictions.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    predictions = [json.loads(line) for line in lines]
    assert [(row["input"], row["target"]) for row in predictions] == ROWS
    assert [row["prediction"] for row in predictions] == list(ANSWERS.values())
    assert [row["correct"] for row in predictions] == [True, False, True, True, True, False, False]
    assert [row["score"] for row in predictions] == [0.1] * 6 + [None]
    assert "日本" in lines[4]

    metrics = read(output / "metrics.json")
    assert (metrics["split"], metrics["examples"]) == ("test", 7)
    names = ["exact_match", "character_error_rate", "word_error_rate", "bleu", "chrf"]
    assert list(metrics["metrics"]) == list(metrics["intervals"]) == names
    assert metrics["metrics"]["exact_match"] == 4 / 7
    assert metrics["metrics"]["character_error_rate"] == 4 / 12
    low, high = metrics["intervals"]["exact_match"]
    assert 0 <= low < 4 / 7 < high <= 1
    lengths = metrics["slices"]["length"]
    assert {name: each["examples"] for name, each in lengths.items()} == {"2": 1, "3": 1, "4": 4, "6": 1}
    assert {name: each["metrics"]["exact_match"] for name, each in lengths.items()} == {
        "2": 1.0,
        "3": 0.0,
        "4": 0.5,
        "6": 1.0,
    }
    assert summary == {name: metrics[name] for name in ("examples", "metrics", "intervals")}
    worst = [json.loads(line) for line in (output / "worst.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["example"], row["input"], row["badness"]) for row in worst] == [
        (2, "eins", 1.0),
        (6, "neun", 1.0),
        (7, "elf", 1.0),
    ]
    assert sorted(str(path.relative_to(output)) for path in output.rglob("*.*")) == [
        "metrics.json",
        "plots/by_length.png",
        "plots/training_curves.png",
        "predictions.jsonl",
        "resampled.npy",
        "worst.jsonl",
    ]
    assert Answering.loads == 1
    assert sorted(Answering.batches) == [1, 1, 1, 2, 2]
    progress = [event for event in events if isinstance(event, StageProgress)]
    assert {(event.stage, event.total) for event in progress} == {("evaluate", 7)}
    assert sorted(event.done for event in progress) == [2, 3, 5, 6, 7]


def test_classification_on_validation_where_there_is_no_test(upstream, tmp_path):
    rows = [("drei", "3"), ("eins", "1"), ("neun", "99"), ("zwei\u2028x", "2")]
    directories = upstream(rows, "classification", "validation")
    output, summary, events = run(directories, tmp_path, "classification")
    metrics = read(output / "metrics.json")
    assert (metrics["split"], metrics["examples"]) == ("validation", 4)
    assert metrics["metrics"]["accuracy"] == 0.75
    assert metrics["confusion"]["labels"] == ["1", "2", "3", "7", "99"]
    assert metrics["classes"]["7"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert (output / "plots" / "confusion_matrix.png").exists()
    assert (output / "plots" / "calibration.png").exists()
    assert sum(bin_["examples"] for bin_ in metrics["calibration"]) == 4
    assert "roc_auc" not in metrics["metrics"]
    assert list(summary["metrics"]) == ["accuracy", "macro_f1", "micro_f1", "calibration_error"]
    (warning,) = [event for event in events if isinstance(event, Warned)]
    assert "no test split: measured on validation" in warning.message


class Choosing(Answering):
    """Knows two labels, in the order of its own, and is never sure."""

    PROBABILITIES: ClassVar = {"eins": 0.9, "zwei": 0.6, "drei": 0.4, "vier": 0.2, "fünf": 0.7}

    def __call__(self, texts):
        sure = [self.PROBABILITIES[text.decode()] for text in texts.numpy()]
        return {
            "prediction": tf.constant(["yes" if each > 0.5 else "no" for each in sure]),
            "score": tf.constant([max(each, 1 - each) for each in sure]),
            "probabilities": tf.constant([[each, 1 - each] for each in sure]),
        }


def test_two_labels_have_a_curve_and_columns_have_slices(upstream, tmp_path):
    rows = [
        ("eins", "yes", "odd"),
        ("zwei", "yes", "even"),
        ("drei", "no", "odd"),
        ("vier", "no", "even"),
        ("fünf", "no", "odd"),
    ]
    config = EvaluateConfig(batch_size=2, slices=["parity", "label"], worst_examples=1)
    directories = upstream(rows, "classification", kept=["parity"])
    output, summary, _ = run(directories, tmp_path, "classification", config, Choosing)
    metrics = read(output / "metrics.json")
    assert summary["metrics"]["roc_auc"] == pytest.approx(5 / 6)  # fünf ranks above zwei, one pair of six
    parity = metrics["slices"]["parity"]
    assert {name: each["metrics"]["accuracy"] for name, each in parity.items()} == {
        "even": 1.0,
        "odd": pytest.approx(2 / 3),
    }
    assert parity["odd"]["metrics"]["roc_auc"] == 1.0
    assert "roc_auc" not in metrics["slices"]["label"]["yes"]["metrics"]
    predictions = [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]
    assert [row["columns"] for row in predictions] == [{"parity": row[2]} for row in rows]
    assert [row["probability"] for row in predictions] == pytest.approx([0.9, 0.6, 0.4, 0.2, 0.7])
    (worst,) = (json.loads(line) for line in (output / "worst.jsonl").read_text().splitlines())
    assert (worst["input"], worst["badness"]) == ("fünf", pytest.approx(0.7))
    assert {"by_parity.png", "by_label.png"} <= {path.name for path in (output / "plots").iterdir()}


def test_beside_the_evaluation_nothing_is_drawn_or_warned_of(upstream, tmp_path):
    output = tmp_path / "champion"
    output.mkdir()
    events = []
    stage = Evaluate(EvaluateConfig(), DecodeConfig(), "seq2seq", str(output), Answering, stage="champion")
    directories = {**upstream(ROWS, split="validation", longest=65), "train": str(tmp_path / "train")}
    with (
        listening(events.append),
        beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline,
    ):
        _ = pipeline | beam.Create([directories]) | stage
    assert {type(event) for event in events} == {StageProgress}
    assert {event.stage for event in events} == {"champion"}
    assert not (output / "plots").exists()


@pytest.mark.parametrize(("count", "drawn"), [(0, []), (2, [1, 2]), (100, [1, 2, 3, 4, 5, 6])])
def test_the_attention_of_the_first_examples_is_drawn(upstream, tmp_path, count, drawn):
    Explaining.asked[:] = []
    config = EvaluateConfig(batch_size=2, attention_maps=count)
    output, _, _ = run(upstream(ROWS), tmp_path, config=config, load=Explaining)
    assert sorted(Explaining.asked) == sorted(source for source, _ in ROWS[:count])
    maps = sorted(path.name for path in (output / "plots").glob("attention_*"))
    assert maps == [f"attention_{number:02}.png" for number in drawn]  # the seventh answer has no tokens
    assert all(matplotlib.image.imread(output / "plots" / name).size for name in maps)


def test_targets_longer_than_any_answer_are_told(upstream, tmp_path):
    _, _, events = run(upstream(ROWS, longest=65), tmp_path)
    assert [event.message for event in events if isinstance(event, Warned)] == [
        "targets of test have up to 65 tokens (95 % have at most 60), but answers end after 64: "
        "raise decode.max_length"
    ]


def test_without_anything_to_measure_on(upstream, tmp_path):
    with pytest.raises(UserError, match=r"neither a test nor a validation split.*ingest\.holdout"):
        run(upstream(ROWS, split="train"), tmp_path)


def test_a_metric_of_the_other_task():
    with pytest.raises(
        UserError, match=r"evaluate\.metrics: accuracy is no metric of the task seq2seq; expected"
    ):
        Evaluate(EvaluateConfig(metrics=["accuracy"]), DecodeConfig(), "seq2seq", "nowhere")
    bless = {"bleu": Threshold(min=1)}
    with pytest.raises(UserError, match=r"evaluate\.bless: bleu is no metric of the task classification"):
        Evaluate(EvaluateConfig(bless=bless), DecodeConfig(), "classification", "nowhere")


def test_metrics_with_a_threshold_are_measured_as_well():
    config = EvaluateConfig(metrics=["bleu"], bless={"exact_match": Threshold(min=0.9)})
    assert config.measured("seq2seq") == ["exact_match", "bleu"]
    assert EvaluateConfig().measured("classification") == list(METRICS["classification"])
