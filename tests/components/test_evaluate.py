import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from export_artifacts import LABELS, read_predictions, write_artifacts
from export_artifacts import load as load_artifacts
from made_artifacts import make_examples, make_tokens
from stage_runner import commit, run_on_nothing, run_stage

from components import files
from components.artifacts.evaluation import Evaluation
from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from components.evaluate import transform
from components.evaluate.candidates import Exported, Trained
from components.evaluate.config import EvaluateConfig, Threshold
from components.evaluate.coverage import Selection
from components.evaluate.measured import Measured
from components.evaluate.metrics import (
    METRICS,
    MetricInfo,
    SummedMetric,
    metric_names,
    register,
    shown,
    title,
)
from components.evaluate.predict import Predict
from components.evaluate.rules import apply_rules
from components.evaluate.saved_model import SavedModelAnswers
from components.evaluate.transform import Evaluate
from components.export.saved_model import export_saved_model
from components.models.decode import DecodeConfig
from components.reports import Progress, Warned, listening
from components.strict import FIELDS
from components.work import Made, Work

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
    labels: ClassVar = ()

    def __init__(self, inputs, task, decode):
        assert all(reference.stage == name for name, reference in inputs.items())
        assert isinstance(decode, DecodeConfig)
        type(self).loads += 1

    def __call__(self, texts):
        self.batches.append(int(texts.shape[0]))
        found = [ANSWERS[text.decode()] for text in texts.numpy()]
        scores = [float("-inf") if answer == "" else 0.1 for answer in found]
        return {"prediction": tf.constant(found), "score": tf.constant(scores, tf.float32)}


@dataclass(frozen=True)
class Candidate:
    """A candidate that is loaded by a function of inputs, task and decode."""

    make: Callable[..., Any]
    identity: str = ""
    of_trial: bool = True
    chosen: Selection | None = None

    @property
    def reads(self):
        return Trained().reads if self.of_trial else {}

    def load(self, *arguments):
        return self.make(*arguments)


class OfBefore(Answering):
    """What was exported before."""

    def __init__(self, inputs, task, decode):
        assert (set(inputs), decode) == ({"ingest"}, None)


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
def root(tmp_path):
    return files.resolve(tmp_path / "root")


@pytest.fixture
def upstream(root):
    """Makes the artifacts that evaluate reads; rows are cut into files of three."""

    def make(rows, task="seq2seq", split="test", longest=64, kept=(), root=root, train=()):
        rows = [dict(zip((*FIELDS[task], *kept), row, strict=True)) for row in rows]
        parts = [rows[start : start + 3] for start in range(0, len(rows), 3)]
        lengths = {"fields": {"target": {"splits": {split: {"tokens": {"p95": 60, "max": longest}}}}}}
        labels = sorted({row["label"] for row in rows}) if task == "classification" else None
        before = {"train": [[row] for row in train]} if train else {}
        train = Work(root, TrainedModel.stage, uuid.uuid4().hex)
        made = (
            make_examples(root, task, {split: parts, **before}),
            make_tokens(root, task, {}, labels=labels, statistics=lengths),
            commit(TrainedModel, train, Made((), {})),
        )
        return {each.stage: each.reference for each in made}

    return make


def run(inputs, task="seq2seq", config=None, load=Answering, kept=(), **reported):
    """Runs the stage; returns its artifact and the events."""
    events = []
    Answering.loads, Answering.batches[:] = 0, []
    config = config or EvaluateConfig(batch_size=2)

    def make(work):
        return Evaluate(config, DecodeConfig(), task, work, Candidate(load), kept=kept)

    with listening(events.append):
        artifact = run_stage(make, Evaluation, inputs, inputs["ingest"].root, **reported)
    return artifact, events


def test_seq2seq(upstream):
    evaluation, events = run(upstream(ROWS))

    lines = evaluation.predictions_file().read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    predictions = [json.loads(line) for line in lines]
    assert list(evaluation.predictions()) == predictions
    assert [(row["input"], row["target"]) for row in predictions] == ROWS
    assert [row["prediction"] for row in predictions] == list(ANSWERS.values())
    assert [row["correct"] for row in predictions] == [True, False, True, True, True, False, False]
    assert [row["score"] for row in predictions] == [0.1] * 6 + [None]
    assert "日本" in lines[4]

    metrics = evaluation.report()
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
    floors = {name: floor["metrics"] for name, floor in metrics["floors"].items()}
    assert evaluation.summary == {
        **{name: metrics[name] for name in ("examples", "metrics", "intervals")},
        "floors": floors,
    }
    # Without train the commonest target is that of these examples, of equals the first by the alphabet.
    assert metrics["floors"]["commonest"]["answer"] == "1"
    assert metrics["floors"]["commonest"]["of"] == "test"
    assert (floors["copy"]["exact_match"], floors["commonest"]["exact_match"]) == (2 / 7, 1 / 7)
    assert evaluation.measured().resamples("exact_match", ()).shape == (1000,)
    of_four = evaluation.measured().resamples("exact_match", ("length", "4"))
    assert np.nanmean(of_four) == pytest.approx(0.5, abs=0.1)
    assert [(row["example"], row["input"], row["badness"]) for row in evaluation.worst()] == [
        (2, "eins", 1.0),
        (6, "neun", 1.0),
        (7, "elf", 1.0),
    ]
    assert evaluation.names() == [
        "metrics.json",
        "plots/by_length.png",
        "predictions.jsonl",
        "resampled.npy",
        "worst.jsonl",
    ]
    assert [name for name, _ in evaluation.plots()] == ["by_length.png"]
    assert evaluation.example_question() == "日本"
    assert Answering.loads == 1
    assert sorted(Answering.batches) == [1, 1, 1, 2, 2]
    progress = [event for event in events if isinstance(event, Progress)]
    assert {(event.stage, event.total) for event in progress} == {("evaluate", 7)}
    assert sorted(event.done for event in progress) == [2, 3, 5, 6, 7]


def test_classification_on_validation_where_there_is_no_test(upstream):
    rows = [("drei", "3"), ("eins", "1"), ("neun", "99"), ("zwei\u2028x", "2")]
    evaluation, events = run(upstream(rows, "classification", "validation"), "classification")
    metrics = evaluation.report()
    assert (metrics["split"], metrics["examples"]) == ("validation", 4)
    assert metrics["metrics"]["accuracy"] == 0.75
    assert metrics["confusion"]["labels"] == ["1", "2", "3", "7", "99"]
    assert metrics["classes"]["7"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert {"confusion_matrix.png", "calibration.png"} <= {name for name, _ in evaluation.plots()}
    assert sum(bin_["examples"] for bin_ in metrics["calibration"]) == 4
    assert "roc_auc" not in metrics["metrics"]
    assert list(evaluation.summary["metrics"]) == ["accuracy", "macro_f1", "micro_f1", "calibration_error"]
    warnings = [event.message for event in events if isinstance(event, Warned)]
    assert "no test split: measured on validation" in warnings[0]
    assert warnings[1:] == metrics["warnings"]
    assert warnings[-1].startswith("the validation split has 4 examples, fewer than 200")


class Choosing(Answering):
    """Knows two labels, in the order of its own, and is never sure."""

    labels = ("yes", "no")
    PROBABILITIES: ClassVar = {"eins": 0.9, "zwei": 0.6, "drei": 0.4, "vier": 0.2, "fünf": 0.7}

    def __call__(self, texts):
        sure = [self.PROBABILITIES[text.decode()] for text in texts.numpy()]
        return {
            "prediction": tf.constant(["yes" if each > 0.5 else "no" for each in sure]),
            "score": tf.constant([max(each, 1 - each) for each in sure]),
            "probabilities": tf.constant([[each, 1 - each] for each in sure]),
        }


def test_floors_are_of_the_train_split_and_of_the_same_examples(upstream):
    """The commonest label of train, which is another one than here, and a model that is fitted to train."""
    train = [("eins eins", "yes"), ("zwei", "yes"), ("vier", "no")]
    config = EvaluateConfig(batch_size=2, baseline="tfidf")
    rows = [("eins", "yes"), ("zwei", "yes"), ("vier", "no"), ("fünf", "no"), ("drei", "no")]
    evaluation, _ = run(upstream(rows, "classification", train=train), "classification", config, Choosing)
    report = evaluation.report()
    assert list(report["floors"]) == list(evaluation.summary["floors"]) == ["majority", "tfidf"]
    majority, linear = report["floors"].values()
    assert (majority["answer"], majority["of"]) == ("yes", "train")
    assert (majority["metrics"]["accuracy"], majority["metrics"]["roc_auc"]) == (2 / 5, 0.5)
    # It knows vier for a no; words that it does not know leave it at the commonest label.
    assert linear["metrics"]["accuracy"] in (2 / 5, 3 / 5)
    assert linear["metrics"]["roc_auc"] > 0.5
    assert 0 < linear["metrics"]["calibration_error"] < 1
    assert "calibration_error" not in majority["metrics"]
    low, high = majority["differences"]["accuracy"]
    assert -1 <= low <= report["metrics"]["accuracy"] - 2 / 5 <= high <= 1


def test_every_column_has_a_picture_of_its_own(upstream):
    """Also where their names are alike once they are names of files, or are too long for one."""
    columns = ["a/b", "a_b", "语言", "来源", "x" * 300]
    rows = [(text, answer, *"vwvwv") for text, answer in (("eins", "7"), ("drei", "3"))]
    config = EvaluateConfig(batch_size=2, slices=columns)
    evaluation, _ = run(upstream(rows, kept=columns), config=config)
    assert list(evaluation.report()["slices"]) == columns
    names = [name for name, _ in evaluation.plots()]
    assert len(names) == 5
    assert "by_a_b.png" in names


CHOSEN = [
    ("eins", "yes", "odd"),
    ("zwei", "yes", "even"),
    ("drei", "no", "odd"),
    ("vier", "no", "even"),
    ("fünf", "no", "odd"),
]


def test_a_third_label_leaves_no_curve(upstream):
    """It is neither positive nor negative; where it does not occur, there still is one."""
    rows = [*CHOSEN[:4], ("fünf", "maybe", "odd")]
    config = EvaluateConfig(batch_size=2, slices=["parity"])
    evaluation, _ = run(upstream(rows, "classification", kept=["parity"]), "classification", config, Choosing)
    report = evaluation.report()
    assert "roc_auc" not in report["metrics"]
    assert report["metrics"]["accuracy"] == pytest.approx(4 / 5)
    parity = report["slices"]["parity"]
    assert parity["even"]["metrics"]["roc_auc"] == 1.0
    assert "roc_auc" not in parity["odd"]["metrics"]


def test_two_labels_have_a_curve_and_columns_have_slices(upstream):
    rows = CHOSEN
    config = EvaluateConfig(batch_size=2, slices=["parity", "label"], worst_examples=1)
    inputs = upstream(rows, "classification", kept=["parity"])
    evaluation, _ = run(inputs, "classification", config, Choosing)
    metrics = evaluation.report()
    assert evaluation.summary["metrics"]["roc_auc"] == pytest.approx(
        5 / 6
    )  # fünf ranks above zwei, one pair of six
    parity = metrics["slices"]["parity"]
    assert {name: each["metrics"]["accuracy"] for name, each in parity.items()} == {
        "even": 1.0,
        "odd": pytest.approx(2 / 3),
    }
    assert parity["odd"]["metrics"]["roc_auc"] == 1.0
    assert "roc_auc" not in metrics["slices"]["label"]["yes"]["metrics"]
    predictions = list(evaluation.predictions())
    assert [row["columns"] for row in predictions] == [{"parity": row[2]} for row in rows]
    assert [row["probability"] for row in predictions] == pytest.approx([0.9, 0.6, 0.4, 0.2, 0.7])
    (worst,) = evaluation.worst()
    assert (worst["input"], worst["badness"]) == ("fünf", pytest.approx(0.7))
    assert worst["columns"] == {"parity": "odd"}
    assert {"by_parity.png", "by_label.png"} <= {name for name, _ in evaluation.plots()}

    unsliced, _ = run(inputs, "classification", EvaluateConfig(batch_size=2), Choosing)
    digests = [each.manifest.digests for each in (evaluation, unsliced)]
    assert digests[0]["predictions"] == digests[1]["predictions"], "a slice changes no answer"
    assert digests[0]["figures"] != digests[1]["figures"]


def test_another_candidate_reads_the_examples_alone_and_is_not_warned_of(upstream, root):
    """It answers for itself, with a decoder of its own; and what happens is told of its node."""
    examples = {"ingest": upstream(ROWS, split="validation", longest=65)["ingest"]}
    events = []

    def make(work):
        candidate = Candidate(OfBefore, "before", of_trial=False)
        return Evaluate(EvaluateConfig(), None, "seq2seq", work, candidate, floors=False)

    with listening(events.append):
        node = {"status": root / "status", "node": "evaluate champion"}
        champion = run_stage(make, Evaluation, examples, root, **node)
    assert {type(event) for event in events} == {Progress}
    assert {event.stage for event in events} == {"evaluate champion"}
    assert champion.report()["metrics"]["exact_match"] == 4 / 7
    assert not {"floors", "warnings"} & {*champion.report(), *champion.summary}
    assert champion.reference.manifest.parts[-3] == "evaluate"
    (status,) = statuses(root / "status")
    assert (status["node"], status["warnings"]) == ("evaluate champion", [])


@pytest.mark.parametrize(("count", "drawn"), [(0, []), (2, [1, 2, "wrong_06"]), (100, [1, 2, 3, 4, 5, 6])])
def test_the_attention_of_the_first_examples_and_of_wrong_answers_is_drawn(upstream, count, drawn):
    Explaining.asked[:] = []
    config = EvaluateConfig(batch_size=2, attention_maps=count)
    evaluation, _ = run(upstream(ROWS), config=config, load=Explaining)
    wrong = ["neun", "elf"] if count == 2 else []  # the others are among the first ones
    assert sorted(Explaining.asked) == sorted([*wrong, *(source for source, _ in ROWS[:count])])
    maps = {name: path for name, path in evaluation.plots() if name.startswith("attention_")}
    assert list(maps) == [
        f"attention_{number:02}.png" if isinstance(number, int) else f"attention_{number}.png"
        for number in drawn
    ]  # the seventh answer has no tokens
    assert all(matplotlib.image.imread(path).size for path in maps.values())


def test_targets_longer_than_any_answer_are_told(upstream):
    _, events = run(upstream(ROWS, longest=65))
    assert [event.message for event in events if isinstance(event, Warned)][:1] == [
        "targets of test have up to 65 tokens (95 % have at most 60), but answers end after 64: "
        "raise decode.max_decoding_length"
    ]


def statuses(folder):
    return [json.loads(files.read(entry.path)) for entry in files.entries(folder)]


def test_what_happens_is_reported(upstream, root):
    run(upstream(ROWS, longest=65), status=root / "status")
    (status,) = statuses(root / "status")
    assert (status["node"], status["error"]) == ("evaluate", "")
    assert "raise decode.max_decoding_length" in status["warnings"][0]


def refusing(inputs, task, decode):
    raise UserError("no such model")


def test_a_failure_is_reported(upstream, root):
    with pytest.raises(UserError, match="no such model"):
        run(upstream(ROWS), load=refusing, status=root / "status")
    (status,) = statuses(root / "status")
    assert status["error"] == "no such model"
    assert "refusing" in status["traceback"]


class Hungry(Answering):
    """Takes memory that no machine has, and so raises TensorFlow's own error."""

    def __call__(self, texts):
        return {"prediction": tf.zeros([2**44])}


def test_answers_that_do_not_fit_into_memory_name_the_batch_size(upstream):
    expected = r"out of memory with evaluate\.batch_size 2 .*OOM.* to 1, or lower decode\.beam_size"
    with pytest.raises(UserError, match=expected):
        run(upstream(ROWS), load=Hungry)


def test_without_anything_to_measure_on(upstream):
    with pytest.raises(UserError, match=r"neither a test nor a validation split.*ingest\.holdout"):
        run(upstream(ROWS, split="train"))


def test_twice_the_same_answers_are_the_same_files(upstream):
    inputs = upstream(ROWS)
    first, _ = run(inputs, load=Explaining)
    second, _ = run(inputs, load=Explaining)
    assert first.manifest.digests == second.manifest.digests
    assert not {file.path for file in first.manifest.files.values()} & {
        file.path for file in second.manifest.files.values()
    }


def test_of_nothing_nothing_is_made(root):
    def make(work):
        return Evaluate(EvaluateConfig(), DecodeConfig(), "seq2seq", work, Candidate(Answering))

    assert run_on_nothing(make, Evaluation, root) == []
    assert not files.entries(root)


class Twice(beam.DoFn):
    """Answers each part twice at once, as an engine does that takes an attempt for dead; hands one on."""

    def __init__(self, predict):
        self.predict = predict

    def process(self, part):
        tried = [self.predict.process(part) for _ in range(2)]
        given = list(zip(*tried, strict=True))  # in turns
        yield from (second for _, second in given)


def test_two_attempts_at_a_part_do_not_disturb_each_other(upstream, root, monkeypatch):
    inputs = upstream(ROWS)
    once, _ = run(inputs, load=Explaining)
    par_do = beam.ParDo
    monkeypatch.setattr(
        beam,
        "ParDo",
        lambda fn, *sides, **named: par_do(Twice(fn) if isinstance(fn, Predict) else fn, *sides, **named),
    )
    twice, _ = run(inputs, load=Explaining)
    written = [files.entries(each.reference.manifest.parent) for each in (once, twice)]
    assert len(written[1]) > len(written[0])
    assert twice.manifest.digests == once.manifest.digests
    for file in twice.manifest.files.values():
        assert files.sha256(root / file.path) == file.sha256


def test_a_root_that_is_not_on_a_disk(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    inputs = upstream(ROWS, root=files.resolve(f"memory://{uuid.uuid4().hex}"))
    remote, _ = run(inputs, load=Explaining)
    local, _ = run(upstream(ROWS), load=Explaining)
    assert remote.manifest.digests == local.manifest.digests
    assert [row["input"] for row in remote.predictions()] == [source for source, _ in ROWS]
    assert all(matplotlib.image.imread(path.open("rb")).size for _, path in remote.plots())


def test_the_trained_model_and_its_saved_model_answer_alike(root, tmp_path):
    upstream = write_artifacts(root, "classification", 12)
    asked = [row["input"] for row in read_predictions(upstream)]
    rows = [(text, LABELS[index % 4]) for index, text in enumerate(asked)]
    inputs = {
        "ingest": make_examples(root, "classification", {"test": [rows[:7], rows[7:]]}).reference,
        "tokenize": upstream["tokenize"],
    }

    def measure(inputs, *candidate):
        def make(work):
            return Evaluate(EvaluateConfig(batch_size=4), None, "classification", work, *candidate)

        return run_stage(make, Evaluation, inputs, root)

    evaluation = measure({**inputs, "train": upstream["train"]})
    assert [row["prediction"] for row in evaluation.predictions()] == [
        row["prediction"] for row in read_predictions(upstream)
    ]
    predictor = load_artifacts(upstream, "classification")
    saved = str(tmp_path / "model")
    export_saved_model(predictor.signatures, list(predictor.tokenizers.values()), saved)
    assert sorted(SavedModelAnswers(saved).labels) == sorted(predictor.labels) == sorted(LABELS)
    champion = measure({"ingest": inputs["ingest"]}, Exported(saved, "before"))
    assert champion.report()["metrics"] == pytest.approx(evaluation.report()["metrics"], abs=1e-5)
    assert [row["prediction"] for row in champion.predictions()] == [
        row["prediction"] for row in evaluation.predictions()
    ]


def test_a_metric_of_the_other_task(root):
    work = Work(root, Evaluation.stage, "key")
    with pytest.raises(
        UserError, match=r"evaluate\.metrics: accuracy is no metric of the task seq2seq; expected"
    ):
        Evaluate(EvaluateConfig(metrics=["accuracy"]), DecodeConfig(), "seq2seq", work)
    bless = {"bleu": Threshold(min=1)}
    with pytest.raises(UserError, match=r"evaluate\.bless: bleu is no metric of the task classification"):
        Evaluate(EvaluateConfig(bless=bless), DecodeConfig(), "classification", work)


def test_metrics_with_a_threshold_are_measured_as_well():
    config = EvaluateConfig(metrics=["bleu"], bless={"exact_match": Threshold(min=0.9)})
    assert config.measured("seq2seq") == ["bleu", "exact_match"]
    assert EvaluateConfig().measured("classification") == list(metric_names("classification"))


class LengthError(SummedMetric):
    """By how many characters the answers are too long or too short, for each character of the targets."""

    def columns(self, answers):
        pairs = list(zip(answers.expected, answers.predicted, strict=True))
        gaps = [abs(len(target) - len(prediction)) for target, prediction in pairs]
        return {"gap": gaps, "length": [len(target) for target, _ in pairs]}

    def score(self, sums):
        return sums["gap"] / np.maximum(sums["length"], 1)

    def details(self, sums):
        return {"gap": int(sums["gap"][0])}


def test_a_metric_is_one_row(upstream):
    """Registered from outside: the configuration takes it, and it is measured, sliced, judged and shown."""
    register(
        MetricInfo(
            "length_error",
            ("seq2seq",),
            LengthError,
            smaller_is_better=True,
            range=(0.0, 9.0),
            title="error of the length",
            format=".1%",
        )
    )
    try:
        _check_length_error(upstream)
    finally:
        del METRICS["length_error"]


def _check_length_error(upstream):
    assert metric_names("seq2seq")[-1] == "length_error"
    bless = {"length_error": Threshold(max=0.3, max_regression=0.0, slices={"length=3": {"max": 1.0}})}
    config = EvaluateConfig(metrics=["exact_match"], bless=bless, batch_size=2)
    evaluation, _ = run(upstream(ROWS), config=config)
    report = evaluation.report()
    assert list(report["metrics"]) == ["exact_match", "length_error"]
    assert report["metrics"]["length_error"] == 3 / 12
    low, high = report["intervals"]["length_error"]
    assert 0 <= low < 3 / 12 < high
    assert report["slices"]["length"]["3"]["metrics"]["length_error"] == 1.0
    assert report["smaller_is_better"] == ["length_error"]
    model = evaluation.measured()
    verdict = apply_rules(config, model)
    assert verdict.blessed, verdict.reasons
    better = Measured(
        {**model.report, "metrics": {"length_error": 0.0}}, {((), "length_error"): np.zeros(1000)}
    )
    reasons = apply_rules(config, model, better, "version 1").reasons
    said = "length_error 0.25 beside 0 of version 1: a drop of 0.25 > 0 (max_regression)"
    assert any(reason.startswith(said) for reason in reasons), reasons
    assert (shown("length_error", 0.25), title("length_error")) == ("25.0%", "error of the length")
    with pytest.raises(ValueError, match="bless has max 12 for length_error, expected a number from 0 to 9"):
        EvaluateConfig(bless={"length_error": Threshold(max=12.0)})


class Attending(Answering):
    """Answers labels, and says that it looked at the last character alone."""

    looks = True

    def looked_at(self, text):
        return list(text), [0.0] * (len(text) - 1) + [1.0]

    def unknown_shares(self, texts):
        return np.asarray([0.5] * len(texts))


def test_wrong_labels_come_with_confusions_and_what_the_model_looked_at(upstream):
    rows = [("drei", "3"), ("eins", "1"), ("neun", "9"), ("zwei\u2028x", "2")]
    config = EvaluateConfig(batch_size=2, slices=["unknown"])
    evaluation, _ = run(upstream(rows, "classification"), "classification", config, Attending)
    report = evaluation.report()
    assert [(cell["expected"], cell["predicted"]) for cell in report["confused"]] == [("9", "99"), ("1", "7")]
    assert [answer["input"] for answer in report["confused"][1]["answers"]] == ["eins"]
    assert sorted((row["example"], "".join(row["tokens"])) for row in report["attended"]) == [
        (2, "eins"),
        (3, "neun"),
    ]
    assert all(row["weights"] == [0.0, 0.0, 0.0, 1.0] for row in report["attended"])
    labels = {row["example"]: (row["target"], row["prediction"]) for row in report["attended"]}
    assert labels == {2: ("1", "7"), 3: ("9", "99")}
    assert {name: part["examples"] for name, part in report["slices"]["unknown"].items()} == {"over 20 %": 4}
    assert report["worst_slices"] == {"metric": "accuracy", "looked_at": 0, "slices": []}


def test_the_worst_slices_are_looked_for_by_kept_columns_with_few_values(upstream, monkeypatch):
    monkeypatch.setattr(transform, "_MOST_VALUES", 2)
    rows = [("drei", "3", str(number), "ab"[number % 2]) for number in range(90)]
    inputs = upstream(rows, "classification", kept=["id", "side"])
    evaluation, _ = run(inputs, "classification", EvaluateConfig(batch_size=9), kept=["id", "side"])
    assert [row["columns"] for row in evaluation.predictions()][:2] == [
        {"id": "0", "side": "a"},
        {"id": "1", "side": "b"},
    ]
    # The two sides; length, label and unknown tokens are the same everywhere, and ids tell records apart.
    assert evaluation.report()["worst_slices"]["looked_at"] == 2
