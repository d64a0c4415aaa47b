"""What is monitored: metrics of evaluate, and which checkpoint is kept by them."""

import math
from functools import partial

import numpy as np
import pytest
from made_artifacts import make_examples, make_tokens
from stage_runner import run_stage
from tiny_training import (
    MODEL,
    TOKENIZER,
    assert_same_weights,
    make_pairs,
    make_raw,
    make_texts,
    monitored,
    train,
    trainer,
)

from components.artifacts.evaluation import Evaluation
from components.errors import UserError
from components.evaluate.config import EvaluateConfig
from components.evaluate.metrics import metric_names
from components.evaluate.transform import Evaluate
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.train.config import TrainConfig
from components.train.monitor import greedy, improved, monitors, smaller_is_better

COPY = ModelConfig.model_validate(
    {
        "embedding_size": 8,
        "encoder": {"type": "gru", "units": 16},
        "attention": {"type": "bahdanau"},
        "decoder": {"type": "gru", "units": 16},
    }
)
FAST = {"type": "adam", "learning_rate": 0.03}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


def test_what_can_be_monitored():
    assert monitors("seq2seq") == ("loss", *metric_names("seq2seq"))
    smaller = {
        name for task in ("classification", "seq2seq") for name in monitors(task) if smaller_is_better(name)
    }
    assert smaller == {"loss", "calibration_error", "character_error_rate", "word_error_rate"}


def test_an_improvement_is_larger_than_min_delta_in_the_right_direction():
    assert improved("loss", 0.5, 0.6)
    assert not improved("loss", 0.6, 0.6)
    assert not improved("loss", 0.55, 0.6, min_delta=0.1)
    assert improved("bleu", 12.0, 11.0)
    assert not improved("bleu", 11.0, 12.0)
    assert not improved("bleu", 12.0, 11.5, min_delta=1.0)
    assert improved("bleu", 0.0, None)
    assert improved("loss", 0.5, math.nan)
    assert not improved("loss", math.nan, 0.5)
    assert not improved("loss", math.nan, math.nan)


def test_greedy_decoding_keeps_what_applies_to_it():
    decode = DecodeConfig(
        beam_size=7, n_best=3, length_penalty=2.0, min_length=1, max_decoding_length=5, prefix="a"
    )
    expected = DecodeConfig(beam_size=1, min_length=1, max_decoding_length=5, prefix="a")
    assert greedy(decode) == expected
    sampled = DecodeConfig(sample=True, top_k=3, no_repeat_ngram_size=2, max_decoding_length=64)
    assert greedy(sampled) == DecodeConfig(beam_size=1, no_repeat_ngram_size=2)
    assert greedy(None) == DecodeConfig(beam_size=1)


def evaluated(trained, tokens, raw, root, task, decode=None):
    """What evaluate measures; without a test split, it does so on the validation split."""
    report = run_stage(
        lambda work: Evaluate(EvaluateConfig(resamples=0, attention_maps=0), decode, task, work),
        Evaluation,
        {"train": trained.reference, "tokenize": tokens.reference, "ingest": raw.reference},
        root,
    ).report()
    assert report["split"] == "validation"
    return report["metrics"]


@pytest.mark.parametrize("metric", metric_names("classification"))
def test_a_metric_is_the_one_that_evaluate_measures(tokens, tmp_path, metric):
    raw = make_raw(tmp_path, "classification")
    trained = monitored(tokens, raw, tmp_path, epochs=2, monitor=metric, optimizer=FAST)
    expected = evaluated(trained, tokens, raw, tmp_path, "classification")[metric]
    assert trained.summary[f"val_{metric}"] == pytest.approx(expected, rel=1e-6)
    values = [epoch[f"val_{metric}"] for epoch in trained.history()["epochs"]]
    best = min if metric == "calibration_error" else max
    assert trained.summary["kept_epoch"] == 1 + values.index(best(values))


@pytest.mark.parametrize("metric", ["exact_match", "character_error_rate", "chrf"])
def test_seq2seq_is_measured_by_greedy_decoding(tmp_path, metric):
    tokens, raw = make_pairs(tmp_path), make_raw(tmp_path, "seq2seq")
    decode = DecodeConfig(beam_size=3, max_decoding_length=3, prefix="a")
    settings = {"epochs": 6, "monitor": metric, "optimizer": FAST, "batch_size": 8}
    trained = monitored(tokens, raw, tmp_path, COPY, "seq2seq", decode=decode, **settings)
    once = DecodeConfig(beam_size=1, max_decoding_length=3, prefix="a")
    expected = evaluated(trained, tokens, raw, tmp_path, "seq2seq", once)[metric]
    assert trained.summary[f"val_{metric}"] == pytest.approx(expected, rel=1e-6)
    values = [epoch[f"val_{metric}"] for epoch in trained.history()["epochs"]]
    assert len(set(values)) > 1


def test_measuring_leaves_the_training_as_it_is(tokens, tmp_path):
    raw = make_raw(tmp_path, "classification")
    plain = train(tokens, tmp_path, epochs=2)
    measured = monitored(tokens, raw, tmp_path, epochs=2, monitor="roc_auc")
    for ours, theirs in zip(measured.history()["epochs"], plain.history()["epochs"], strict=True):
        assert {name: ours[name] for name in theirs if name != "seconds"} == {
            name: value for name, value in theirs.items() if name != "seconds"
        }
        assert "val_roc_auc" in ours


@pytest.mark.parametrize(
    ("monitor", "values", "kept"),
    [
        ("macro_f1", [0.1, 0.9, 0.3], 2),
        ("calibration_error", [0.4, 0.9, 0.3], 3),
        ("macro_f1", [0.5, 0.9, 0.9], 2),
        ("loss", None, 3),
    ],
)
def test_the_best_checkpoint_is_kept(tokens, tmp_path, monitor, values, kept):
    measured = iter(values or [])
    measure = (lambda _: next(measured)) if values else None
    best = trainer(tokens, tmp_path / "best", epochs=3, monitor=monitor, measure=measure)
    history = best.fit()
    assert best.kept()["epoch"] == history["best_epoch"] == kept
    if values:
        assert [each[f"val_{monitor}"] for each in history["epochs"]] == values
    expected = trainer(tokens, tmp_path / "until", epochs=kept)
    expected.fit()
    assert_same_weights(best.model, expected.model)


def test_without_monitor_and_early_stopping_the_last_weights_are_kept(tokens, tmp_path):
    settings = {"epochs": 6, "optimizer": {"type": "adam", "learning_rate": 0.1}}
    last = trainer(tokens, tmp_path / "last", **settings)
    history = last.fit()
    assert history["best_epoch"] < 6
    assert last.kept()["epoch"] == 6
    best = trainer(tokens, tmp_path / "best", monitor="loss", **settings)
    assert best.fit()["best_epoch"] == best.kept()["epoch"] == history["best_epoch"]
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(last.model.get_weights(), best.model.get_weights(), strict=True)
    )


def one_split(root, labels=(0, 1)):
    rows = {"train": [[([4, 5], 0), ([5, 4], 1)] * 8]}
    if labels:
        rows["validation"] = [[([4, 5], label) for label in labels]]
    raw = {
        split: [[("ab", ["no", "yes"][label]) for _, label in part] for part in parts]
        for split, parts in rows.items()
    }
    tokens = make_tokens(root, "classification", rows, {"text": TOKENIZER}, ["no", "yes"])
    return tokens, make_examples(root, "classification", raw)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "accuracy"}, r"train\.monitor received accuracy, .* but the ingested data has none"),
        ({"validate_every": {"steps": 5}}, r"train\.validate_every received steps 5 .* has none; name files"),
    ],
)
def test_what_needs_a_validation_split(tmp_path, settings, message):
    tokens, raw = one_split(tmp_path, labels=())
    run = partial(monitored, tokens, raw) if "monitor" in settings else partial(train, tokens)
    with pytest.raises(Exception, match=message):
        run(tmp_path, epochs=1, **settings)


def test_without_a_validation_split_the_training_loss_is_monitored(tmp_path):
    tokens, _ = one_split(tmp_path, labels=())
    trained = train(tokens, tmp_path, epochs=3, monitor="loss", learning_rate_schedule="plateau")
    history = trained.history()
    losses = [epoch["loss"] for epoch in history["epochs"]]
    assert trained.summary["kept_epoch"] == 1 + losses.index(min(losses))
    assert [each["loss"] for each in history["validations"]] == losses


def test_a_metric_that_is_not_defined(tmp_path):
    tokens, raw = one_split(tmp_path, labels=(1, 1))
    with pytest.raises(
        Exception, match=r"roc_auc, which is not defined on the validation split's 2 examples"
    ):
        monitored(tokens, raw, tmp_path, epochs=1, monitor="roc_auc")


def test_a_training_in_numbers_that_are_none(tokens, tmp_path):
    """Within an epoch, too."""
    broken = trainer(
        tokens,
        tmp_path,
        epochs=1,
        validate_every={"steps": 2},
        global_clipnorm=None,
        optimizer={"type": "sgd", "learning_rate": 1e38},
    )
    with pytest.raises(UserError, match="loss became"):
        broken.fit()


@pytest.mark.parametrize(
    ("settings", "best"),
    [
        ({}, False),
        ({"monitor": "loss"}, True),
        ({"early_stopping": {}}, True),
        ({"learning_rate_schedule": "plateau"}, False),
    ],
)
def test_when_the_best_checkpoint_is_kept(settings, best):
    assert TrainConfig.model_validate(settings).keeps_best is best


def test_the_model_has_no_trace_of_the_monitor(tokens, tmp_path):
    raw = make_raw(tmp_path, "classification")
    plain = train(tokens, tmp_path, epochs=1, model=MODEL)
    measured = monitored(tokens, raw, tmp_path, epochs=1, monitor="accuracy")
    assert measured.read("model.keras") == plain.read("model.keras")
