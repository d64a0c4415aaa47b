"""The function that is evaluated and then served: strings in, strings and scores out."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

import components.models.classifier
import components.models.seq2seq  # noqa: F401 (both register their class for loading)
from components.models.decode import DecodeConfig
from components.strict import FIELDS, Task
from components.tokenize.labels import read_labels
from components.tokenize.tokenizers import Tokenizer, load_tokenizer


def pad(tokens: tf.RaggedTensor) -> tf.Tensor:
    """Pads with 0 to the longest row, and to one column at least: an empty text is one step of padding."""
    dense = tokens.to_tensor()
    return tf.pad(dense, [[0, 0], [0, tf.maximum(1 - tf.shape(dense)[1], 0)]])


class Predictor(tf.Module):
    """Tokenizer, model and decoder as one function of strings.

    Args:
        task: which of the two kinds of model this is.
        model: a Classifier or a Seq2Seq.
        tokenizers: by text field of the task.
        labels: the label of each class (classification).
        decode: how answers are searched for (seq2seq; None for its defaults).
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        tokenizers: dict[str, Tokenizer],
        labels: list[str],
        decode: DecodeConfig | None,
    ) -> None:
        super().__init__()
        self.task = task
        self.model = model
        self.tokenizers = tokenizers
        self.labels = labels
        self.decode = decode or DecodeConfig()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers a batch of texts.

        Args:
            text: strings [B], UTF-8.

        Returns:
            prediction: strings [B]; score: float32 [B], the probability of the label, or the log probability
            of the answer (penalised for its length); classification adds probabilities [B, C].
        """
        answer = self._classify if self.task == "classification" else self._rewrite
        return answer(pad(self.tokenizers[FIELDS[self.task][0]].tokenize(text)))

    def _classify(self, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(self.model(tokens, training=False))
        best = tf.argmax(probabilities, axis=-1)
        return {
            "prediction": tf.gather(tf.constant(self.labels), best),
            "score": tf.reduce_max(probabilities, axis=-1),
            "probabilities": probabilities,
        }

    def _rewrite(self, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        found = self.model.decode(tokens, self.decode)
        return {
            "prediction": self.tokenizers["target"].detokenize(found["sequences"][:, 0]),
            "score": found["scores"][:, 0],
        }


def load_predictor(
    tokenize_directory: str, model_path: str, task: Task, decode: DecodeConfig | None
) -> Predictor:
    """Builds the predictor from artifacts.

    Args:
        tokenize_directory: the tokenize stage's artifact.
        model_path: the train stage's model.keras.
        task: which of the two kinds of model this is.
        decode: how answers are searched for (seq2seq).

    Returns:
        The predictor, with the model's weights loaded.
    """
    # On a GPU, TensorFloat-32 would answer a little differently from the CPU that a model is replayed on.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    directory = Path(tokenize_directory) / "tokenizer"
    text_fields = [field for field in FIELDS[task] if field != "label"]
    return Predictor(
        task,
        keras.models.load_model(model_path, compile=False),
        {field: load_tokenizer(str(directory / field)) for field in text_fields},
        read_labels(tokenize_directory) if task == "classification" else [],
        decode,
    )
