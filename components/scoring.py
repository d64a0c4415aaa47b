"""How probable a model finds targets that are given to it."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from components.models.decode import DecodeConfig
from components.tokenize.tokenizers import END, PAD, START, UNKNOWN

# As in the search: what a position counts as that nothing has looked at.
_LEAST_COVERAGE = 1e-7


def score_labels(logits: tf.Tensor, labels: Sequence[str], target: tf.Tensor) -> dict[str, tf.Tensor]:
    """Looks up the probabilities of labels.

    Args:
        logits: float32 [B, C].
        labels: the C labels.
        target: strings [B], the label of each row that is asked about.

    Returns:
        probability, log_probability: float32 [B], 0 and -inf for what is none of the labels; known: booleans
        [B], whether it is one.
    """
    is_target = tf.equal(target[:, None], tf.constant([list(labels)]))
    log_probabilities = tf.where(is_target, tf.nn.log_softmax(logits), -np.inf)
    return {
        "probability": tf.reduce_sum(tf.where(is_target, tf.nn.softmax(logits), 0.0), axis=1),
        "log_probability": tf.reduce_max(log_probabilities, axis=1),
        "known": tf.reduce_any(is_target, axis=1),
    }


def score_sequences(
    model: keras.Model,
    source: tf.Tensor,
    target: tf.RaggedTensor,
    decode: DecodeConfig,
    prefix: Sequence[int],
    pieces: Sequence[str],
) -> dict[str, tf.Tensor]:
    """Reads targets with teacher forcing, whatever their length.

    Args:
        model: a Seq2Seq.
        source: token ids, int32 [B, S], padded with 0 on the right.
        target: token ids, int32 [B, (T)], without the end token.
        decode: how a search would score these sequences.
        prefix: the token ids that every answer of that search begins with.
        pieces: what each id of the target stands for.

    Returns:
        What `Predictor.score` returns for a seq2seq model.
    """
    rows = tf.shape(source)[0]
    expected = tf.concat([target, tf.fill([rows, 1], END)], axis=1)
    previous = tf.concat([tf.fill([rows, 1], START), target.to_tensor(PAD)], axis=1)
    counts = tf.cast(expected.row_lengths(), tf.int32)
    is_token = tf.sequence_mask(counts, tf.shape(previous)[1])

    memory, mask, summary, states = model.encode(source, training=False)
    covers = bool(decode.coverage_penalty)
    outputs = model.decoder(
        model.target_embedding(previous),
        memory=memory,
        initial_states=states,
        memory_mask=mask,
        summary=summary,
        training=False,
        return_attention=covers,
    )
    outputs, attention, *_ = outputs if covers else (outputs, None)
    # Of the tokens alone: beside one long target, padding would take more memory than all of them.
    logits = model.token_logits(tf.boolean_mask(outputs, is_token))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(expected.flat_values, logits)
    log_probabilities = expected.with_flat_values(-losses).to_tensor(0.0)

    forced = _forced(target, prefix)
    is_free = tf.range(tf.shape(previous)[1]) >= forced[:, None]
    score = tf.reduce_sum(tf.where(is_free, log_probabilities, 0.0), axis=1)
    score *= _length_weights(counts - forced, decode)
    if covers:
        attention = tf.where(is_token[:, :, None], tf.cast(attention, tf.float32), 0.0)
        coverage = tf.clip_by_value(tf.reduce_sum(attention, axis=1), _LEAST_COVERAGE, 1.0)
        score += decode.coverage_penalty * tf.reduce_sum(tf.where(mask, tf.math.log(coverage), 0.0), axis=1)
    return {
        "log_probability": tf.reduce_sum(log_probabilities, axis=1),
        "score": score,
        "tokens": counts,
        "known": ~tf.reduce_any(tf.equal(target, UNKNOWN), axis=1),
        "token_log_probabilities": log_probabilities,
        "target_tokens": tf.gather(tf.constant(["", *pieces[1:]]), expected.to_tensor(PAD)),
    }


def _forced(target: tf.RaggedTensor, prefix: Sequence[int]) -> tf.Tensor:
    """How many tokens of each target are the prefix, int32 [B]: all of it, or none."""
    begins = target[:, : len(prefix)].to_tensor(PAD, shape=[None, len(prefix)])
    begins_so = tf.reduce_all(tf.equal(begins, tf.constant(list(prefix), tf.int32)), axis=1)
    return tf.where(begins_so, len(prefix), 0)


def _length_weights(counts: tf.Tensor, decode: DecodeConfig) -> tf.Tensor:
    """What multiplies the log probability of so many tokens, float32 [B]; see `BeamSearchDecoder`."""
    lengths = tf.cast(tf.maximum(counts, 1), tf.float64)
    penalties = (5 + lengths) / 6 if decode.length_normalization == "gnmt" else lengths
    return tf.cast(penalties**-decode.length_penalty, tf.float32)
