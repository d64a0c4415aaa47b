"""Token ids to term frequencies weighted by inverse document frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from layers._validation import invalid, positive_integer

# Odd constants with well spread bits, so that neighbouring ids fall far apart (Knuth, and MurmurHash3).
_MULTIPLIER, _MIXER = 2654435761, 2246822507


@keras.saving.register_keras_serializable(package="rnnpipe")
class TfIdf(keras.layers.Layer):
    """Counts the terms of a text and weights them by how rare they are.

    A term is a token, or up to `ngrams` tokens in a row. With `c` the number of times that a term occurs in
    the text, `n` the number of documents and `d` the number of those that contain the term, its entry is

        c * (ln((1 + n) / (1 + d)) + 1)

    and each vector is divided by its Euclidean norm: scikit-learn's `TfidfTransformer` with its defaults.
    Padding is no token. The weights are not trained; until `set_document_frequencies` is called all terms
    weigh the same.

    Args:
        vocabulary_size: Positive integer, number of token ids. Each has a feature of its own.
        ngrams: Positive integer, how many tokens in a row make the longest term. Defaults to 1.
        hash_bins: Positive integer, number of features that terms of more than one token are hashed to. Two
            terms in one bucket count as the same. Without effect if `ngrams` is 1. Defaults to 65536.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Integers of shape `(batch, time)` from 0 to `vocabulary_size - 1`.
        mask: Boolean tensor of shape `(batch, time)`, `False` at padding. Defaults to `inputs != 0`.

    Returns:
        Tensor of shape `(batch, features)` of unit rows; zeros for a text without tokens.

    Example:
        ```python
        tfidf = TfIdf(vocabulary_size=5)
        documents = np.array([[2, 3, 3, 4], [2, 2, 0, 0]])
        tfidf.set_document_frequencies(tfidf.document_frequencies(documents), documents=2)
        vectors = tfidf(documents)  # `vectors` has shape (2, 5).
        ```

    References:
        - [A statistical interpretation of term specificity and its application in retrieval](
          https://doi.org/10.1108/eb026526) (Sparck Jones, 1972)
        - [Feature Hashing for Large Scale Multitask Learning](https://arxiv.org/abs/0902.2206)
          (Weinberger et al., 2009)
    """

    def __init__(self, vocabulary_size: int, ngrams: int = 1, hash_bins: int = 65_536, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in {
            "vocabulary_size": vocabulary_size,
            "ngrams": ngrams,
            "hash_bins": hash_bins,
        }.items():
            positive_integer(name, value)
        self.vocabulary_size = vocabulary_size
        self.ngrams = ngrams
        self.hash_bins = hash_bins
        self.features = vocabulary_size + (hash_bins if ngrams > 1 else 0)
        """Width of the vectors."""

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Creates the weight of each term."""
        if len(inputs_shape) != 2:
            raise ValueError(
                f"`inputs` must have shape `(batch, time)`. Received: inputs.shape={tuple(inputs_shape)}"
            )
        self.idf = self.add_weight(
            shape=(self.features,),
            initializer="ones",
            trainable=False,
            dtype="float32",
            autocast=False,
            name="idf",
        )

    def count(self, inputs: Any, mask: Any = None) -> Any:
        """Returns how often each term occurs in each text, float32 of shape `(batch, features)`."""
        tokens = ops.cast(inputs, "int32")
        mask = ops.not_equal(tokens, 0) if mask is None else ops.cast(mask, "bool")
        time = ops.shape(tokens)[1]
        padded = ops.pad(tokens, [(0, 0), (0, self.ngrams - 1)])
        padded_mask = ops.pad(mask, [(0, 0), (0, self.ngrams - 1)])
        hashed, real = ops.zeros_like(tokens, dtype="uint32"), mask
        terms, occurrences = [], []
        for offset in range(self.ngrams):
            token = padded[:, offset : offset + time]
            real = ops.logical_and(real, padded_mask[:, offset : offset + time])
            hashed = _mix(hashed, token)
            bucket = ops.cast(ops.mod(hashed, np.uint32(self.hash_bins)), "int32") + self.vocabulary_size
            terms.append(token if offset == 0 else bucket)
            occurrences.append(ops.cast(real, "float32"))
        columns = ops.concatenate(terms, axis=1)
        rows = ops.zeros_like(columns) + ops.arange(ops.shape(columns)[0])[:, None]
        # `ops.bincount` of rows needs their number on JAX, when a model is traced for any.
        return ops.scatter(
            ops.stack([ops.reshape(rows, (-1,)), ops.reshape(columns, (-1,))], axis=1),
            ops.reshape(ops.concatenate(occurrences, axis=1), (-1,)),
            (ops.shape(tokens)[0], self.features),
        )

    def document_frequencies(self, inputs: Any, mask: Any = None) -> np.ndarray:
        """Returns in how many of the texts each term occurs, int64 of shape `(features,)`.

        The sum over batches, in any order, is what `set_document_frequencies` takes.
        """
        occurs = ops.convert_to_numpy(self.count(inputs, mask)) > 0
        return occurs.sum(axis=0, dtype=np.int64)

    def set_document_frequencies(self, frequencies: np.ndarray, documents: int) -> None:
        """Sets the weights of the terms.

        Args:
            frequencies: Integers of shape `(features,)`, in how many documents each term occurs.
            documents: How many documents there are.

        Raises:
            ValueError: If the shape is another, or a term occurs in more documents than there are.
        """
        frequencies = np.asarray(frequencies)
        if frequencies.shape != (self.features,):
            expected = f"an array of shape {(self.features,)}"
            raise invalid("frequencies", expected, f"shape {frequencies.shape}")
        if frequencies.min() < 0 or frequencies.max() > documents:
            expected = f"numbers from 0 to `documents`={documents}"
            raise invalid("frequencies", expected, f"{frequencies.min()} to {frequencies.max()}")
        if not self.built:
            self.build((None, None))
        self.idf.assign(np.log((1 + documents) / (1 + frequencies)) + 1)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the weighted and normalised counts; see the class."""
        weighted = self.count(inputs, mask) * self.idf
        squares = ops.sum(ops.square(weighted), axis=1, keepdims=True)
        norms = ops.sqrt(ops.where(squares > 0, squares, 1.0))
        return ops.cast(weighted / norms, self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Returns None: a vector has no time steps."""
        return

    def compute_output_shape(self, inputs_shape: Sequence[int | None]) -> tuple[int | None, int]:
        """Returns `(batch, features)`."""
        return (inputs_shape[0], self.features)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "ngrams": self.ngrams,
            "hash_bins": self.hash_bins,
        }


def _mix(hashed: Any, token: Any) -> Any:
    """Takes one more token into a hash; unsigned, so that overflow is defined everywhere."""
    hashed = ops.bitwise_xor(hashed, ops.cast(token + 1, "uint32") * np.uint32(_MULTIPLIER))
    hashed = ops.bitwise_xor(hashed, ops.right_shift(hashed, np.uint32(15))) * np.uint32(_MIXER)
    return ops.bitwise_xor(hashed, ops.right_shift(hashed, np.uint32(13)))
