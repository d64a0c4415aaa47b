"""Small trainings: data, a trainer without the stage around it, and the stage itself."""

from functools import partial

import apache_beam as beam
import keras
import numpy as np
import tensorflow as tf
from made_artifacts import make_examples, make_tokens
from stage_runner import run_stage

from components import files
from components.artifacts.trained_model import TrainedModel
from components.models.build import build_model
from components.models.config import ModelConfig
from components.reports import EpochFinished, Progress
from components.tokenize.config import Characters
from components.tokenize.tokenizers import SPECIAL_TOKENS, CharacterTokenizer
from components.train.checkpoint import Checkpoints
from components.train.config import TrainConfig
from components.train.dataset import TokenData
from components.train.loop import Trainer
from components.train.monitored import measuring
from components.train.transform import Train, Trial

TOKENIZER = CharacterTokenizer(Characters(type="characters"), [*SPECIAL_TOKENS, *"abcdef"])
MODEL = ModelConfig.model_validate(
    {"embedding_size": 8, "dropout": 0.2, "encoder": {"type": "gru", "units": 8, "dropout": 0.1}}
)
HARD = ModelConfig.model_validate(
    {
        "embedding_size": 4,
        "dropout": 0.1,
        "encoder": {"type": "simple_rnn", "units": 4},
        "attention": {"type": "hard"},
        "decoder": {"type": "simple_rnn", "units": 4, "dropout": 0.1},
    }
)


PLAIN = {"learning_rate_schedule": "constant", "optimizer": {"type": "adam"}}


class KilledError(Exception):
    pass


def text_rows():
    random = np.random.default_rng(1)

    def rows(count):
        texts = [random.integers(4, 10, random.integers(1, 12)) for _ in range(count)]
        return [(text, int(text[0] == text[-1])) for text in texts]

    return {"train": [rows(60), rows(60)], "validation": [rows(30)]}


def make_texts(root):
    """A classification data set: is the first letter also the last?"""
    return make_tokens(root, "classification", text_rows(), {"text": TOKENIZER}, ["no", "yes"])


def pair_rows():
    random = np.random.default_rng(1)

    def rows(count):
        return [(text, text[::-1]) for text in random.integers(4, 10, (count, 3))]

    return {"train": [rows(60)], "validation": [rows(20)]}


def make_pairs(root):
    """A seq2seq data set: the text backwards."""
    lengths = {"fields": {"target": {"splits": {"validation": {"tokens": {"max": 3, "p95": 3}}}}}}
    tokenizers = {"source": TOKENIZER, "target": TOKENIZER}
    return make_tokens(root, "seq2seq", pair_rows(), tokenizers, statistics=lengths)


def make_raw(root, task, splits=("train", "validation")):
    """The raw texts of these data sets."""
    rows = text_rows() if task == "classification" else pair_rows()

    def as_text(value):
        if isinstance(value, int):
            return ["no", "yes"][value]
        return "".join("abcdef"[token - 4] for token in value)

    texts = {
        split: [[tuple(map(as_text, row)) for row in part] for part in parts]
        for split, parts in rows.items()
        if split in splits
    }
    return make_examples(root, task, texts)


def data(tokens, split="train", batch_size=16, buckets=3, task="classification"):
    return TokenData(tokens, split, task, batch_size, buckets)


def trainer(tokens, folder, seed=3, model=MODEL, attempt="a", measure=None, stop=0, **settings):
    """Makes a trainer whose checkpoints are in a folder; `measure` takes the model."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    config = TrainConfig.model_validate({**PLAIN, "batch_size": 16, "length_buckets": 3, **settings})
    task = "seq2seq" if model.decoder else "classification"
    sizes = {"text": 10, "label": 2, "source": 10, "target": 10}
    place = files.resolve(folder)
    model = build_model(model, task, sizes)
    return Trainer(
        model,
        config,
        data(tokens, task=task),
        data(tokens, "validation", task=task),
        seed,
        Checkpoints(place, place / "checkpoints", attempt),
        partial(measure, model) if measure else None,
        stop=stop,
    )


def checkpoints(folder):
    """The names of the checkpoints that a trainer left in a folder."""
    return files.names(files.resolve(folder) / "checkpoints")


class TrainOne(beam.PTransform):
    """The stage with a single trial: {"tokenize": reference} to Made."""

    def __init__(self, *trial):
        super().__init__()
        self._train = Train({"train": Trial(*trial)})

    def expand(self, inputs):
        nodes = inputs | "as a node" >> beam.Map(lambda read: ("train", read))
        return nodes | "train" >> self._train | "made" >> beam.Values()


def train(tokens, root, key="key", model=MODEL, task="classification", seed=3, **settings) -> TrainedModel:
    """Runs the stage."""
    config = TrainConfig.model_validate({**PLAIN, "batch_size": 32, **settings})
    return run_stage(
        lambda work: TrainOne(config, ModelConfig.model_validate(model), task, seed, work),
        TrainedModel,
        {"tokenize": tokens.reference},
        root,
        key,
    )


def monitored(tokens, raw, root, model=MODEL, task="classification", seed=3, decode=None, **settings):
    """Runs the stage with a metric of evaluate as monitor."""
    config = TrainConfig.model_validate({**PLAIN, "batch_size": 32, **settings})
    return run_stage(
        lambda work: TrainOne(config, model, task, seed, work, measuring(config, task, decode)),
        TrainedModel,
        {"tokenize": tokens.reference, "ingest": raw.reference},
        root,
    )


def kill_after_validation():
    """A listener that ends the training after its first validation."""

    def kill(event):
        if isinstance(event, EpochFinished) or (
            isinstance(event, Progress) and "validated at step" in event.message
        ):
            raise KilledError

    return kill


def kill_after(epoch):
    """A listener that ends the training after an epoch."""

    def kill(event):
        if isinstance(event, EpochFinished) and event.epoch == epoch:
            raise KilledError

    return kill


def without_times(history):
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in history["epochs"]]


def assert_same_weights(model, other):
    for value, same in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(same, value)
