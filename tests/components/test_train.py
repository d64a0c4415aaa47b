import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.errors import UserError
from components.events import EpochFinished, Warned, listening
from components.examples import encode_tokens, shard_name
from components.models.config import ModelConfig
from components.tokenize.config import Characters
from components.tokenize.labels import write_labels
from components.tokenize.tokenizers import SPECIAL_TOKENS, CharacterTokenizer
from components.train.checkpoint import Checkpoints
from components.train.config import ScheduledSampling, TrainConfig
from components.train.dataset import TokenData
from components.train.loop import Trainer
from components.train.losses import CrossEntropy
from components.train.sampling import TeacherForcing
from components.train.transform import Train

LETTERS = "abcdef"
MODEL = ModelConfig.model_validate(
    {"embedding_size": 8, "dropout": 0.2, "encoder": {"type": "gru", "units": 8, "dropout": 0.1}}
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A classification data set: is the first letter also the last?"""
    directory = tmp_path_factory.mktemp("tokenize")
    (directory / "tokens").mkdir()
    random = np.random.default_rng(1)
    for split, shards, count in [("train", 2, 60), ("validation", 1, 30)]:
        for shard in range(shards):
            path = directory / "tokens" / shard_name(split, shard, shards)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for _ in range(count):
                    text = random.integers(4, 10, random.integers(1, 12))
                    writer.write(encode_tokens({"text": text, "label": [int(text[0] == text[-1])]}))
    tokenizer = CharacterTokenizer(Characters(type="characters"), [*SPECIAL_TOKENS, *LETTERS])
    tokenizer.save(str(directory / "tokenizer" / "text"))
    write_labels(str(directory), ["no", "yes"])
    return directory


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A seq2seq data set: the text backwards."""
    directory = tmp_path_factory.mktemp("tokenize_pairs")
    (directory / "tokens").mkdir()
    random = np.random.default_rng(1)
    for split, count in [("train", 60), ("validation", 20)]:
        path = directory / "tokens" / shard_name(split, 0, 1)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for _ in range(count):
                text = random.integers(4, 10, 3)
                writer.write(encode_tokens({"source": text, "target": text[::-1]}))
    return directory


def data(tokens, split="train", batch_size=16, buckets=3, task="classification"):
    return TokenData(str(tokens), split, task, batch_size, buckets)


def order(dataset):
    return [row[row > 0].tolist() for inputs, *_ in dataset.as_numpy_iterator() for row in inputs]


def test_every_example_comes_once_in_batches_of_about_its_length(tokens):
    train = data(tokens)
    boundaries = train.boundaries()
    batches = list(train.batches(boundaries, seed=5, shuffle_buffer=1000).as_numpy_iterator())
    assert len(batches) == train.steps(boundaries)
    seen = sorted(int(np.count_nonzero(row)) for inputs, *_ in batches for row in inputs)
    assert seen == sorted(train.lengths)
    for inputs, *_ in batches:
        buckets = np.digitize(np.count_nonzero(inputs, axis=1), boundaries)
        assert len(set(buckets)) == 1


def test_the_order_depends_on_the_seed_alone(tokens):
    train = data(tokens)
    boundaries = train.boundaries()
    first, again, other = (
        order(train.batches(boundaries, seed=seed, shuffle_buffer=1000)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert sorted(map(tuple, first)) == sorted(map(tuple, other))


def test_seq2seq_batches_are_shifted_and_weighted(tmp_path):
    (tmp_path / "tokens").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "tokens" / shard_name("train", 0, 1))) as writer:
        writer.write(encode_tokens({"source": [4, 5, 6], "target": [7, 8]}))
        writer.write(encode_tokens({"source": [], "target": []}))
    (batch,) = data(tmp_path, task="seq2seq", buckets=1).batches([]).as_numpy_iterator()
    inputs, targets, weights = batch
    np.testing.assert_array_equal(inputs["source"], [[4, 5, 6], [0, 0, 0]])
    np.testing.assert_array_equal(inputs["previous"], [[2, 7, 8], [2, 0, 0]])
    np.testing.assert_array_equal(targets, [[7, 8, 3], [3, 0, 0]])
    np.testing.assert_array_equal(weights, [[1, 1, 1], [1, 0, 0]])


def test_an_unknown_label_has_no_weight(tmp_path):
    (tmp_path / "tokens").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "tokens" / shard_name("train", 0, 1))) as writer:
        writer.write(encode_tokens({"text": [4], "label": [-1]}))
    ((_, targets, weights),) = data(tmp_path).batches([]).as_numpy_iterator()
    assert targets.tolist() == [0]
    assert weights.tolist() == [0]


def test_texts_without_tokens_are_batched_as_one_step(tmp_path):
    """Enough of them that a bucket would begin between no token and one."""
    (tmp_path / "tokens").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "tokens" / shard_name("train", 0, 1))) as writer:
        for text in [[]] * 20 + [[4]] * 3 + [[4, 5]] * 3:
            writer.write(encode_tokens({"text": text, "label": [0]}))
    train = data(tmp_path)
    boundaries = train.boundaries()
    batches = list(train.batches(boundaries, seed=1, shuffle_buffer=50).as_numpy_iterator())
    assert len(batches) == train.steps(boundaries)
    assert sum(len(inputs) for inputs, *_ in batches) == 26


def trainer(tokens, checkpoints, seed=3, model=MODEL, **settings):
    import keras

    from components.models.build import build_model

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    config = TrainConfig.model_validate({"batch_size": 16, "buckets": 3, **settings})
    task = "seq2seq" if model.decoder else "classification"
    sizes = {"text": 10, "label": 2, "source": 10, "target": 10}
    return Trainer(
        build_model(model, task, sizes),
        config,
        data(tokens, task=task),
        data(tokens, "validation", task=task),
        seed,
        Checkpoints(str(checkpoints)),
    )


def without_times(history):
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in history["epochs"]]


class KilledError(Exception):
    pass


HARD = ModelConfig.model_validate(
    {
        "embedding_size": 4,
        "dropout": 0.1,
        "encoder": {"type": "simple_rnn", "units": 4},
        "attention": {"type": "hard"},
        "decoder": {"type": "simple_rnn", "units": 4, "dropout": 0.1},
    }
)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "cosine", "label_smoothing": 0.1},
        {"early_stopping": {"patience": 10}},
        {"model": HARD, "teacher_forcing": {"end": 0.2}, "batch_size": 30, "buckets": 1},
    ],
    ids=["smoothed", "stopping", "sampled"],
)
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(tokens, pairs, tmp_path, settings):
    settings = {"epochs": 4, **settings}
    tokens = pairs if "model" in settings else tokens
    whole = trainer(tokens, tmp_path / "whole", **settings)
    expected = whole.fit()

    def kill(event):
        if isinstance(event, EpochFinished) and event.epoch == 2:
            raise KilledError

    killed = trainer(tokens, tmp_path / "killed", **settings)
    with listening(kill), pytest.raises(KilledError):
        killed.fit()
    events = []
    resumed = trainer(tokens, tmp_path / "killed", **settings)
    with listening(events.append):
        history = resumed.fit()
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [3, 4]
    assert [event.message for event in events if isinstance(event, Warned)] == [
        "going on after epoch 2 of an interrupted run"
    ]
    assert without_times(history) == without_times(expected)
    assert history["best_epoch"] == expected["best_epoch"]
    for value, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)


def test_an_epoch_cut_short_leaves_the_one_before(tokens, tmp_path):
    first = trainer(tokens, tmp_path, epochs=1)
    first.fit()
    (tmp_path / ".half-written").mkdir()
    (tmp_path / ".half-written" / "variables.npz").write_bytes(b"half")
    second = trainer(tokens, tmp_path, epochs=1)
    best, state = second.checkpoints.restore(second.model)
    assert best is None
    assert len(state["epochs"]) == 1


def test_the_seed_decides_everything(tokens, tmp_path):
    first, again, other = (
        without_times(trainer(tokens, tmp_path / name, seed=seed, epochs=2).fit())
        for name, seed in [("a", 3), ("b", 3), ("c", 4)]
    )
    assert first == again
    assert first != other


def test_early_stopping_ends_and_keeps_the_best_weights(tokens, tmp_path):
    stopping = trainer(
        tokens,
        tmp_path,
        epochs=50,
        early_stopping={"patience": 2},
        optimizer={"type": "adam", "learning_rate": 0.1},
    )
    history = stopping.fit()
    losses = [epoch["val_loss"] for epoch in history["epochs"]]
    assert len(losses) < 50
    assert history["best_epoch"] == int(np.argmin(losses)) + 1
    assert len(losses) == history["best_epoch"] + 2
    batches = data(tokens, "validation").batches(stopping.boundaries)
    assert stopping.model.evaluate(batches, verbose=0)[0] == pytest.approx(min(losses), rel=1e-5)


def test_label_smoothing_by_hand():
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(2, 3, 5)).astype("float32"), random.integers(5, size=(2, 3))
    weights = np.array([[1, 1, 0], [1, 0, 0]], "float32")
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = 0.7 * np.eye(5)[targets] + 0.3 / 5
    loss = CrossEntropy(0.3)
    smoothed, plain = (
        -((expected * log_probs).sum(axis=-1) * weights).sum() / 3
        for expected in (expected, np.eye(5)[targets])
    )
    np.testing.assert_allclose(loss(targets, logits, weights), smoothed, rtol=1e-5)
    with loss.unsmoothed():
        np.testing.assert_allclose(loss(targets, logits, weights), plain, rtol=1e-5)
    np.testing.assert_allclose(loss(targets, logits, weights), smoothed, rtol=1e-5)
    np.testing.assert_allclose(CrossEntropy()(targets, logits, weights), plain, rtol=1e-5)
    assert loss(targets, logits, 0 * weights) == 0
    assert CrossEntropy.from_config(loss.get_config()).label_smoothing == 0.3


def test_the_training_loss_is_smoothed_and_the_validation_loss_is_not(tokens, tmp_path):
    import keras

    smoothed = trainer(
        tokens,
        tmp_path,
        epochs=1,
        label_smoothing=0.99,
        clip_norm=None,
        optimizer={"type": "sgd", "learning_rate": 1e-9},
    )
    # Far from even, so that smoothing costs much.
    smoothed.model.readout.bias.assign([-5, 5])
    (epoch,) = smoothed.fit()["epochs"]
    smoothed.model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    )
    batches = data(tokens, "validation").batches(smoothed.boundaries)
    plain = smoothed.model.evaluate(batches, verbose=0, return_dict=True)
    assert epoch["val_loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert epoch["loss"] == pytest.approx(5, abs=0.3)


def forcing(seed=3, steps=101, **settings):
    import keras

    optimizer = keras.optimizers.SGD()
    return TeacherForcing(ScheduledSampling.model_validate(settings), steps, optimizer, seed), optimizer


@pytest.mark.parametrize(
    ("schedule", "quarter", "half"),
    [
        ("linear", 0.8, 0.6),
        ("exponential", 0.2**0.25, 0.2**0.5),
        # 1 - 0.8 (1 / (1 + e^-5) - 1 / (1 + e^-2.5)) / (1 / (1 + e^-5) - 1 / (1 + e^5))
        ("inverse_sigmoid", 0.9439, 0.6),
    ],
)
def test_teacher_forcing_falls_with_the_training_step(schedule, quarter, half):
    ratio = forcing(end=0.2, schedule=schedule)[0].ratio
    actual = [float(ratio(step)) for step in (0, 25, 50, 100, 1000)]
    assert actual == pytest.approx([1, quarter, half, 0.2, 0.2], abs=1e-4)
    values = [float(ratio(step)) for step in range(101)]
    assert values == sorted(values, reverse=True)


def test_forced_tokens_are_drawn_by_seed_and_step():
    drawn, optimizer = forcing(start=0.3, end=0.3)
    first = drawn([50, 100])
    assert np.mean(first) == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(first, drawn([50, 100]))
    assert (np.asarray(forcing(seed=4, start=0.3, end=0.3)[0]([50, 100])) != np.asarray(first)).any()
    optimizer.iterations.assign(1)
    assert (np.asarray(drawn([50, 100])) != np.asarray(first)).any()


def test_teacher_forcing_is_no_part_of_the_model(pairs, tmp_path):
    plain = trainer(pairs, tmp_path / "plain", model=HARD)
    sampled = trainer(pairs, tmp_path / "sampled", model=HARD, teacher_forcing=0.5)
    assert plain.model.draw_forced is None
    assert sampled.model.draw_forced is not None
    assert len(plain.model.variables) == len(sampled.model.variables)


def test_clipping_bounds_the_step(tokens, tmp_path):
    clipped = trainer(
        tokens, tmp_path, epochs=1, clip_norm=1e-6, optimizer={"type": "sgd", "learning_rate": 1.0}
    )
    before = clipped.model.get_weights()
    clipped.fit()
    moved = np.sqrt(
        sum(
            np.sum((a - b) ** 2)
            for a, b in zip(before, clipped.model.get_weights(), strict=True)
            if a.dtype != "int64"
        )
    )
    assert 0 < moved <= 1e-6 * clipped.steps * 1.01


def test_the_cosine_schedule_ends_at_zero(tokens, tmp_path):
    annealed = trainer(
        tokens, tmp_path, epochs=2, schedule="cosine", optimizer={"type": "sgd", "learning_rate": 0.5}
    )
    rate = annealed.model.optimizer
    assert float(rate.learning_rate) == pytest.approx(0.5)
    rate.iterations.assign(annealed.steps)
    assert float(rate.learning_rate) == pytest.approx(0.25)
    rate.iterations.assign(2 * annealed.steps)
    assert float(rate.learning_rate) == pytest.approx(0.0, abs=1e-7)


def test_a_loss_that_is_no_number_stops_the_training(tokens, tmp_path):
    broken = trainer(
        tokens,
        tmp_path,
        epochs=5,
        clip_norm=None,
        optimizer={"type": "sgd", "learning_rate": 1e38},
    )
    with pytest.raises(UserError, match=r"loss became .* Lower train.optimizer.learning_rate \(now 1e\+38\)"):
        broken.fit()


def test_the_stage_writes_model_and_history(tokens, tmp_path):
    (tmp_path / "output").mkdir()
    config = TrainConfig.model_validate({"epochs": 2, "batch_size": 16})
    summaries = []
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        stage = Train(
            config=config,
            model=MODEL,
            task="classification",
            seed=3,
            checkpoints=str(tmp_path / "checkpoints"),
            output=str(tmp_path / "output"),
        )
        inputs = pipeline | beam.Create([{"ingest": "", "tokenize": str(tokens)}])
        inputs | stage | beam.Map(lambda summary: (tmp_path / "summary.json").write_text(json.dumps(summary)))
    summaries = json.loads((tmp_path / "summary.json").read_text())
    assert summaries["epochs"] == summaries["kept_epoch"] == 2
    history = json.loads((tmp_path / "output" / "history.json").read_text())
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2]
    assert summaries["val_loss"] == history["epochs"][1]["val_loss"]
    assert (tmp_path / "output" / "model.keras").is_file()
