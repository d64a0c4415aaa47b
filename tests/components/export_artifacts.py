"""The artifacts that the export stage reads, of a small model with random weights."""

import random
import uuid

import keras
import numpy as np
import tensorflow as tf
from made_artifacts import make_tokens
from stage_runner import commit

from components import files
from components.artifacts.evaluation import AnswerWriter, Evaluation, join_answers
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel, write_model
from components.evaluate.answers import Answers
from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.predictor import load_predictor
from components.strict import FIELDS
from components.tokenize.config import Characters
from components.tokenize.tokenizers import CharacterTokenizer
from components.work import Made, Work

WEIGHTS = "0123456789abcdef" * 4
DECODE = DecodeConfig(beam_size=2, max_decoding_length=6)
LABELS = ["blue", "green", "größer", "red"]
ALPHABET = "abcdefghijklmnop äé東🙂"
MODEL = {
    "classification": {
        "embedding_size": 8,
        "dropout": 0.2,
        "encoder": {"type": "gru", "units": 8, "bidirectional": True},
    },
    "seq2seq": {
        "embedding_size": 8,
        "encoder": {"type": "lstm", "units": 8},
        "attention": {"type": "bahdanau"},
        "decoder": {"type": "gru", "units": 8},
    },
}


def texts(count):
    choice = random.Random(5)
    return ["".join(choice.choices(ALPHABET, k=choice.randint(1, 15))) for _ in range(count)]


def write_artifacts(root, task, examples=80):
    """Makes artifacts under `root`, evaluated as the evaluate stage does; returns {stage: Reference}."""
    tokenizer = CharacterTokenizer.learn(
        Characters(type="characters", max_sequence_length=40), [(character, 1) for character in ALPHABET]
    )
    text_fields = [field for field in FIELDS[task] if field != "label"]
    tokens = make_tokens(
        root, task, {}, dict.fromkeys(text_fields, tokenizer), LABELS if "label" in FIELDS[task] else None
    )
    sizes = dict.fromkeys(FIELDS[task], tokenizer.vocabulary_size) | {"label": len(LABELS)}
    keras.utils.set_random_seed(11)
    model = build_model(ModelConfig.model_validate(MODEL[task]), task, sizes)
    # Weights as large as training makes them, so that different texts have different answers.
    model.set_weights(
        [3 * weight if weight.dtype == np.float32 else weight for weight in model.get_weights()]
    )
    upstream = {"tokenize": tokens.reference, "train": make_trained(root, model)}
    return {**upstream, "evaluate": make_evaluated(upstream, task, texts(examples))}


def make_trained(root, model):
    """Makes the artifact of train; returns its reference."""
    work = Work(files.resolve(root), TrainedModel.stage, uuid.uuid4().hex)
    with work.attempt() as attempt:
        made = Made((write_model(attempt, model),), {"weights": WEIGHTS})
    return commit(TrainedModel, work, made).reference


def make_evaluated(upstream, task, inputs):
    """Makes the artifact of evaluate, with the answers to texts; returns its reference."""
    found = load(upstream, task)(tf.constant(inputs, tf.string))
    predictions = [prediction.decode() for prediction in found["prediction"].numpy()]
    expected = (
        [*LABELS, "unknown"] if task == "classification" else [text[::-1] for text in [*inputs, "", "?"]]
    )
    targets = [expected[index % len(expected)] for index in range(len(inputs))]
    answers = Answers.of(inputs, targets, predictions, scores=found["score"].numpy())
    work = Work(upstream["train"].root, Evaluation.stage, uuid.uuid4().hex)
    with work.attempt() as attempt:
        writer = AnswerWriter(attempt, 0)
        writer.write(answers)
        made = join_answers(attempt, work.root, writer.close())
    return commit(Evaluation, work, Made(tuple(made), {})).reference


def load(upstream, task):
    tokens, model = Tokens.load(upstream["tokenize"]), TrainedModel.load(upstream["train"])
    return load_predictor(tokens, model.model_file(), task, DECODE)


def read_predictions(upstream):
    return list(Evaluation.load(upstream["evaluate"]).predictions())
