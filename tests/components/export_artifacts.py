"""The artifacts that the export stage reads, of a small model with random weights."""

import json
import random

import keras
import numpy as np
import tensorflow as tf

from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.predictor import load_predictor
from components.strict import FIELDS
from components.tokenize.config import Characters
from components.tokenize.tokenizers import CharacterTokenizer

DECODE = DecodeConfig(beam_width=2, max_length=6)
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
    """Writes artifacts under `root`, evaluated as the evaluate stage does; returns {stage: directory}."""
    upstream = {stage: root / stage for stage in ("ingest", "tokenize", "train", "evaluate")}
    for directory in upstream.values():
        directory.mkdir(parents=True)
    tokenizer = CharacterTokenizer.learn(
        Characters(type="characters", max_length=40), [(character, 1) for character in ALPHABET]
    )
    sizes = dict.fromkeys(FIELDS[task], tokenizer.vocabulary_size) | {"label": len(LABELS)}
    for field in set(FIELDS[task]) - {"label"}:
        tokenizer.save(str(upstream["tokenize"] / "tokenizer" / field))
    labels = upstream["tokenize"] / "tokenizer" / "labels.txt"
    labels.write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    keras.utils.set_random_seed(11)
    model = build_model(ModelConfig.model_validate(MODEL[task]), task, sizes)
    # Weights as large as training makes them, so that different texts have different answers.
    model.set_weights(
        [3 * weight if weight.dtype == np.float32 else weight for weight in model.get_weights()]
    )
    model.save(upstream["train"] / "model.keras")
    write_predictions(upstream, task, texts(examples))
    return {stage: str(directory) for stage, directory in upstream.items()}


def load(upstream, task):
    return load_predictor(str(upstream["tokenize"]), f"{upstream['train']}/model.keras", task, DECODE)


def write_predictions(upstream, task, inputs):
    answers = load(upstream, task)(tf.constant(inputs, tf.string))
    with (upstream["evaluate"] / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for text, prediction, score in zip(
            inputs, answers["prediction"].numpy(), answers["score"].numpy(), strict=True
        ):
            row = {
                "input": text,
                "target": "?",
                "prediction": prediction.decode(),
                "score": float(str(score)),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_predictions(upstream):
    with open(f"{upstream['evaluate']}/predictions.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
