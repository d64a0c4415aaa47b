"""The functions that are evaluated and then served: strings in, strings and scores out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import components.models.classifier
import components.models.seq2seq  # noqa: F401 (both register their class for loading)
from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.gpus import grow_memory
from components.models.decode import DecodeConfig
from components.scoring import score_labels, score_sequences
from components.strict import FIELDS, Task
from components.tokenize.tokenizers import UNKNOWN, Tokenizer

Signature = Callable[..., dict[str, tf.Tensor]]

_TEXT = [tf.TensorSpec([None], tf.string, name="text")]
_PAIR = [*_TEXT, tf.TensorSpec([None], tf.string, name="target")]


def pad(tokens: tf.RaggedTensor) -> tf.Tensor:
    """Pads with 0 to the longest row, and to one column at least: an empty text is one step of padding."""
    dense = tokens.to_tensor()
    return tf.pad(dense, [[0, 0], [0, tf.maximum(1 - tf.shape(dense)[1], 0)]])


class Predictor(tf.Module):
    """Tokenizer, model and decoder as functions of strings; `signatures` are those that are served.

    Args:
        task: which of the two kinds of model this is.
        model: a Classifier or a Seq2Seq.
        tokenizers: by text field of the task.
        labels: the label of each class (classification).
        decode: how answers are searched for (seq2seq; None for its defaults).
        temperature: what the logits are divided by before they become probabilities (classification; Guo et
            al., 2017), as `components.evaluate.temperature` fits it.

    Raises:
        UserError: if the target tokenizer cannot write `decode.prefix`, or no answer has room for it.
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        tokenizers: dict[str, Tokenizer],
        labels: list[str],
        decode: DecodeConfig | None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.task = task
        self.model = model
        self.tokenizers = tokenizers
        self.labels = labels
        self.decode = decode or DecodeConfig()
        self.prefix = _prefix_ids(self.decode, tokenizers["target"]) if task == "seq2seq" else ()

    @property
    def signatures(self) -> dict[str, Signature]:
        """What is served, by name: `serving_default` is the predictor itself.

        Classification also has `classify`, seq2seq `n_best`. With attention it has `explain`, too, unless the
        encoder shortens the text: what is attended to would be no token. Both have `score`, the only one that
        takes two inputs.
        """
        served: dict[str, Signature] = {"serving_default": self}
        if self.task == "classification":
            served["classify"] = self.classify
        if self.task == "seq2seq":
            served["n_best"] = self.n_best
            if self.model.decoder.attention is not None and _keeps_steps(self.model):
                served["explain"] = self.explain
        served["score"] = self.score
        return served

    def unknown_shares(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Returns which share of the tokens of each text the vocabulary lacks, [B]; 0 of no tokens."""
        tokens = self.tokenizers[FIELDS[self.task][0]].tokenize(tf.constant(texts, tf.string))
        unknown = tf.reduce_sum(tf.cast(tokens == UNKNOWN, tf.float64), axis=1)
        return np.asarray(unknown / tf.maximum(tf.cast(tokens.row_lengths(), tf.float64), 1))

    def looked_at(self, text: str) -> tuple[list[str], list[float]]:
        """Returns the tokens of a text and the weight of each, from 0 to 1 (classification with attention).

        Raises:
            ValueError: if the model has no weights of tokens; see `looks`.
        """
        if not self.looks:
            raise ValueError("the model has no attention pooling over its tokens")
        tokens = self._read(tf.constant([text]))
        weights = self.model.attention_weights(tokens)[0]
        pieces = _pieces(self.tokenizers["text"], tokens)[0].numpy()
        shown = [piece.decode("utf-8", errors="replace") for piece in pieces if piece]
        return shown, np.asarray(weights, np.float64)[: len(shown)].tolist()

    @property
    def looks(self) -> bool:
        """Whether it is a classifier with attention pooling that reads an output for every token."""
        return (
            self.task == "classification"
            and self.model.attention_pooling is not None
            and self.model.attention_weights(tf.ones([1, 7], tf.int32)).shape[1] == 7
        )

    def calibrated(self, temperature: float) -> Predictor:
        """Returns the same classifier with another temperature: other probabilities, the same labels."""
        return Predictor(self.task, self.model, self.tokenizers, self.labels, self.decode, temperature)

    @tf.function(input_signature=_TEXT, autograph=False)
    def logits(self, text: tf.Tensor) -> tf.Tensor:
        """Returns what temperatures are fitted to, float32 [B, C], not divided by any (classification)."""
        return self.model(self._read(text), training=False)

    @tf.function(input_signature=_TEXT, autograph=False)
    def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers a batch of texts.

        Args:
            text: strings [B], UTF-8.

        Returns:
            prediction: strings [B]; score: float32 [B], the probability of the label, or the log probability
            of the answer (penalised as `decode` says); classification adds probabilities [B, C].
        """
        answer = self._classify if self.task == "classification" else self._rewrite
        return answer(self._read(text))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers texts in the form of TF Serving's Classify (classification).

        Args:
            inputs: serialized `tf.train.Example`s [B] with the text as the feature `text`, bytes.

        Returns:
            classes: strings [B, C], the labels; scores: float32 [B, C], the probability of each.
        """
        features = {"text": tf.io.FixedLenFeature([], tf.string)}
        text = tf.io.parse_example(inputs, features)["text"]
        probabilities = self._classify(self._read(text))["probabilities"]
        return {
            "classes": tf.tile(tf.constant([self.labels]), [tf.shape(probabilities)[0], 1]),
            "scores": probabilities,
        }

    @tf.function(input_signature=_TEXT, autograph=False)
    def n_best(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Gives each text its best answers (seq2seq).

        Several token sequences may read alike; only the best of them counts.

        Args:
            text: strings [B], UTF-8.

        Returns:
            predictions: strings [B, N]; scores: float32 [B, N]; finished: booleans [B, N], False where the
            answer could not end within the largest length. The finished ones come first, then the others,
            both by descending score; the first is what the predictor itself answers. Where there are fewer
            answers than N, the last places hold "", -inf (which TF Serving's REST API writes as -Infinity;
            strict JSON parsers do not read that) and False.
        """
        count = self.decode.n_best or self.decode.beam_size
        hypotheses = self.model.decode(self._read(text), self.decode, self.prefix, n_best=count)
        answers = self.tokenizers["target"].detokenize(hypotheses["sequences"])
        alike = tf.equal(answers[:, :, None], answers[:, None]) & hypotheses["found"][:, None]
        is_first = ~tf.reduce_any(alike & np.tri(count, k=-1, dtype=bool), axis=2)
        kept = hypotheses["found"] & is_first
        order = tf.argsort(tf.where(kept, 0, 1), axis=1, stable=True)
        kept, answers, scores, finished = (
            tf.gather(values, order, batch_dims=1)
            for values in (kept, answers, hypotheses["scores"], hypotheses["finished"])
        )
        return {
            "predictions": tf.where(kept, answers, ""),
            "scores": tf.where(kept, scores, -np.inf),
            "finished": kept & finished,
        }

    @tf.function(input_signature=_TEXT, autograph=False)
    def explain(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers, and shows where the decoder looked for each token (seq2seq with attention).

        Args:
            text: strings [B], UTF-8.

        Returns:
            prediction, score: as the predictor itself; source_tokens: strings [B, S], target_tokens: strings
            [B, T], as the vocabulary writes them, padded with ""; attention: float32 [B, T, S], for each
            token of the answer the weight of each token of the source, 0 at padding. The end token has no
            row.
        """
        tokens = self._read(text)
        hypotheses = self.model.decode(tokens, self.decode, self.prefix, return_attention=True)
        longest = tf.reduce_max(tf.concat([[0], hypotheses["lengths"][:, 0]], axis=0))
        return {
            **self._best(hypotheses),
            "source_tokens": _pieces(self.tokenizers["source"], tokens),
            "target_tokens": _pieces(self.tokenizers["target"], hypotheses["sequences"][:, 0, :longest]),
            "attention": hypotheses["attention"][:, 0, :longest],
        }

    @tf.function(input_signature=_PAIR, autograph=False)
    def score(self, text: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tells how probable a given answer to each text is.

        A label counts as known if it is, byte for byte, one of the model's. Of a seq2seq model the target is
        scored as the tokens that its tokenizer makes of it, all of them: neither `max_sequence_length` nor
        `decode.max_decoding_length` cuts it. The text is read as it is when it is answered.

        Args:
            text: strings [B], UTF-8.
            target: strings [B], UTF-8: the label, or the text, that the answer is supposed to be.

        Returns:
            Classification: probability and log_probability, float32 [B], of the label; known: booleans [B],
            False for a label that the model does not have, which has the probability 0 and the log
            probability -inf.

            Seq2seq: log_probability, float32 [B], the sum over the tokens and the end token; score, float32
            [B], what a finished answer of these tokens has as its score, with `decode`'s length and coverage
            penalties, where the tokens of `decode.prefix` do not count if the target begins with them;
            tokens, int32 [B], how many, the end token counted; known: booleans [B], False where the
            vocabulary lacks a token, which is scored as the unknown token; token_log_probabilities, float32
            [B, T], padded with 0; target_tokens, strings [B, T], as the vocabulary writes them, the end token
            among them, padded with "".
        """
        tf.debugging.assert_equal(tf.size(text), tf.size(target), "expected one target for each text")
        source = self._read(text)
        if self.task == "classification":
            return score_labels(self._scaled(self.model(source, training=False)), self.labels, target)
        tokenizer = self.tokenizers["target"]
        tokens = tokenizer.tokenize(target, cut=False)
        return score_sequences(self.model, source, tokens, self.decode, self.prefix, tokenizer.pieces)

    def _read(self, text: tf.Tensor) -> tf.Tensor:
        return pad(self.tokenizers[FIELDS[self.task][0]].tokenize(text))

    def _classify(self, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self.model(tokens, training=False)
        probabilities = tf.nn.softmax(self._scaled(logits))
        best = tf.argmax(logits, axis=-1)  # so that no rounding lets a temperature change a label
        return {
            "prediction": tf.gather(tf.constant(self.labels), best),
            "score": tf.reduce_max(probabilities, axis=-1),
            "probabilities": probabilities,
        }

    def _scaled(self, logits: tf.Tensor) -> tf.Tensor:
        return logits if self.temperature == 1 else logits / self.temperature

    def _rewrite(self, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._best(self.model.decode(tokens, self.decode, self.prefix))

    def _best(self, hypotheses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            "prediction": self.tokenizers["target"].detokenize(hypotheses["sequences"][:, 0]),
            "score": hypotheses["scores"][:, 0],
        }


def _pieces(tokenizer: Tokenizer, ids: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(["", *tokenizer.pieces[1:]]), ids)


def _keeps_steps(model: keras.Model) -> bool:
    """Whether the encoder has one output for each token."""
    return all(model.encode(tf.zeros([1, steps], tf.int32))[0].shape[1] == steps for steps in (4, 7))


def _prefix_ids(decode: DecodeConfig, target: Tokenizer) -> tuple[int, ...]:
    if decode.prefix is None:
        return ()
    text = tf.constant([decode.prefix])
    ids = tuple(target.tokenize(text, cut=False)[0].numpy().tolist())
    received = f"decode.prefix received {decode.prefix!r}"
    if not ids:
        raise UserError(f"{received}, in which the target tokenizer finds nothing; remove it.")
    if UNKNOWN in ids:
        units = list(target.count(text, target.config))
        known = [UNKNOWN not in row for row in target.tokenize(tf.constant(units), cut=False).to_list()]
        lacking = ", ".join(repr(unit) for unit, is_known in zip(units, known, strict=True) if not is_known)
        raise UserError(
            f"{received}, but the target vocabulary lacks {lacking}; expected {target.config.type} of the "
            "train split's targets."
        )
    if len(ids) > decode.max_decoding_length:
        raise UserError(
            f"{received}, which is {len(ids)} target tokens long; expected at most "
            "decode.max_decoding_length "
            f"({decode.max_decoding_length}). Shorten it, or raise decode.max_decoding_length."
        )
    return ids


def load_predictor(
    tokens: Tokens, model: Path, task: Task, decode: DecodeConfig | None, temperature: float = 1.0
) -> Predictor:
    """Builds the predictor from artifacts.

    Args:
        tokens: the tokenize stage's artifact.
        model: the trained Keras model, a file on this machine.
        task: which of the two kinds of model this is.
        decode: how answers are searched for (seq2seq).
        temperature: what the logits are divided by (classification).

    Returns:
        The predictor, with the model's weights loaded.

    Raises:
        UserError: if the tokenizers and `decode` do not fit together; see Predictor.
    """
    grow_memory()
    # On a GPU, TensorFloat-32 would answer a little differently from the CPU that a model is replayed on.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    text_fields = [field for field in FIELDS[task] if field != "label"]
    return Predictor(
        task,
        keras.models.load_model(model, compile=False),
        {field: tokens.tokenizer(field) for field in text_fields},
        tokens.labels() if task == "classification" else [],
        decode,
        temperature,
    )
