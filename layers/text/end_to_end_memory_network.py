"""Answering a question about a story from a memory of its sentences (Sukhbaatar et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from layers._seeds import with_shifted_seed
from layers._validation import invalid, non_negative_integer, positive_integer
from layers.attention.memory_network import read_hops


@keras.saving.register_keras_serializable(package="rnnpipe")
class EndToEndMemoryNetwork(keras.layers.Layer):
    """Embeds the sentences of a text in a memory, which its last sentence, the question, reads in hops.

    The token `separator` ends a sentence. With `x_ij` word `j` of the `J` words of sentence `i`, hop `k`
    reads (see `MemoryNetwork`) keys and values

        m_i = sum_j l_j * A_k x_ij + T_k(i)
        c_i = sum_j l_j * A_{k+1} x_ij + T_{k+1}(i)
        l_dj = (1 - j / J) - (d / units) (1 - 2 j / J)

    with words and components `d` counted from 1. The position encoding `l` tells the orders of a sentence's
    words apart; the temporal encoding `T_k(i)` is a learned vector for each sentence, counted back from the
    question. The question is embedded as `u_1 = sum_j l_j * A_1 x_j`. All embeddings are tied ("adjacent"),
    so that there are `hops + 1` of them.

    Padding and separators add nothing and get no gradient. Separators in a row, at the start or at the end
    bound no sentence; padding between words parts sentences too. A text of one sentence is a question about
    an empty memory: its state is `u_1`.

    Args:
        vocabulary_size: Positive integer, number of token ids.
        units: Positive integer, width of the embeddings and of the states. Defaults to 64.
        hops: Positive integer, how often the memory is read. Defaults to 3.
        max_sentences: Positive integer, how many sentences before the question are kept, the newest ones.
            Defaults to 50.
        separator: Id of the token that ends a sentence; `set_separator` sets it later. Defaults to 0, which
            is padding's: every text is one sentence.
        embeddings_initializer: Initializer of the embeddings and of the temporal encoding. Defaults to
            `None`, a normal distribution with a standard deviation of 0.1, as in the paper.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Integers of shape `(batch, time)`.
        mask: Boolean tensor of shape `(batch, time)`, `False` at padding. Defaults to `inputs != 0`.
        training: Without effect.

    Returns:
        The outputs, of shape `(batch, sentences, units)`, what the last hop reads of each sentence, in the
        order of the text, and the final states, `[[state]]`, the question with all that has been read, of
        shape `(batch, units)`. `compute_mask` tells which of the outputs are sentences; the question's own
        and those of shorter texts are 0. There are as many as a text of that length can have,
        `(time + 1) // 2`, but no more than `max_sentences + 1`. Both are 0 for a text without words.

    Example:
        ```python
        network = EndToEndMemoryNetwork(vocabulary_size=10, units=16, separator=4)
        story = np.array([[5, 6, 4, 7, 8, 4, 9, 6], [5, 7, 4, 9, 5, 0, 0, 0]])
        outputs, [[state]] = network(story)  # (2, 4, 16) and (2, 16)
        ```

    Reference:
        [End-To-End Memory Networks](https://arxiv.org/abs/1503.08895) (Sukhbaatar et al., 2015),
        sections 2 and 4.1, without the random noise and the linear start of its training (4.2)
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int = 64,
        hops: int = 3,
        max_sentences: int = 50,
        separator: int = 0,
        embeddings_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = {
            "vocabulary_size": vocabulary_size,
            "units": units,
            "hops": hops,
            "max_sentences": max_sentences,
        }
        for name, value in sizes.items():
            positive_integer(name, value)
        self.vocabulary_size = vocabulary_size
        self.units = units
        self.hops = hops
        self.max_sentences = max_sentences
        self.separator = self._valid_separator(separator)
        self.embeddings_initializer = (
            keras.initializers.RandomNormal(stddev=0.1)
            if embeddings_initializer is None
            else keras.initializers.get(embeddings_initializer)
        )

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Creates the weights."""
        # One table for all hops, side by side: one look-up and one product make all keys and values.
        width = (self.hops + 1) * self.units
        self.embeddings = self.add_weight(
            shape=(self.vocabulary_size, width), initializer=self.embeddings_initializer, name="embeddings"
        )
        self.times = self.add_weight(
            shape=(self.max_sentences, width),
            initializer=with_shifted_seed(self.embeddings_initializer, 1),
            name="times",
        )
        # A weight, because it may become known only when the layer's configuration is settled.
        self.separator_id = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.separator),
            dtype="int32",
            trainable=False,
            name="separator_id",
        )

    def set_separator(self, separator: int) -> None:
        """Sets the id of the token that ends a sentence; it is saved with the weights.

        Args:
            separator: Integer from 0, which is none, to `vocabulary_size - 1`.
        """
        self.separator = self._valid_separator(separator)
        if self.built:
            self.separator_id.assign(separator)

    def call(
        self, inputs: Any, mask: Any = None, training: bool | None = None
    ) -> tuple[Any, list[list[Any]]]:
        """Reads story and question; see the class for arguments and result."""
        tokens = ops.cast(inputs, "int32")
        sentences = self._find_sentences(tokens, mask)
        words = ops.cast(ops.take(self.embeddings, tokens, axis=0), self.compute_dtype)
        words = words * ops.tile(self._position_encoding(sentences), (1, 1, self.hops + 1))
        embedded = ops.matmul(ops.cast(sentences.words, self.compute_dtype), words)
        question = ops.cast(ops.expand_dims(sentences.is_question, -1), self.compute_dtype)
        query = ops.sum(embedded[..., : self.units] * question, axis=1, keepdims=True)
        times = ops.cast(ops.take(self.times, sentences.age, axis=0), self.compute_dtype)
        memory = ops.where(ops.expand_dims(sentences.mask, -1), embedded + times, 0)
        slots = ops.split(memory, self.hops + 1, axis=-1)
        state, _ = read_hops(query, slots[:-1], slots[1:], ops.expand_dims(sentences.mask, axis=1))
        return slots[-1], [[ops.squeeze(state, axis=1)]]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of the outputs, of shape `(batch, sentences)`."""
        return self._find_sentences(ops.cast(inputs, "int32"), previous_mask).mask

    def _find_sentences(self, tokens: Any, mask: Any) -> _Sentences:
        """Tells which word belongs to which of the kept sentences."""
        real = ops.not_equal(tokens, 0) if mask is None else ops.cast(mask, "bool")
        word = ops.cast(ops.logical_and(real, ops.not_equal(tokens, self.separator_id)), "int32")
        start = word * (1 - ops.pad(word[:, :-1], [(0, 0), (1, 0)]))
        number = ops.cumsum(start, axis=1)
        count = number[:, -1:]
        # Every sentence but the last needs a word and a separator.
        slot = ops.cumsum(ops.ones_like(tokens[:, ::2][:, : self.max_sentences + 1]), axis=1) - 1
        dropped = ops.maximum(count - (self.max_sentences + 1), 0)
        question = count - dropped - 1
        of_slot = ops.equal(ops.expand_dims(number - dropped - 1, 1), ops.expand_dims(slot, 2))
        words = ops.logical_and(of_slot, ops.expand_dims(ops.cast(word, "bool"), 1))
        return _Sentences(
            words=words,
            start=ops.logical_and(words, ops.expand_dims(ops.cast(start, "bool"), 1)),
            mask=slot < question,
            is_question=ops.equal(slot, question),
            age=ops.clip(question - slot - 1, 0, self.max_sentences - 1),
        )

    def _position_encoding(self, sentences: _Sentences) -> Any:
        """Returns the weight of each component of each word, of shape `(batch, time, units)`."""
        dtype = keras.backend.result_type(self.compute_dtype, "float32")  # Half precision counts to 2048.
        words = ops.cast(sentences.words, dtype)
        step = ops.arange(ops.shape(words)[2], dtype=dtype)
        first = ops.sum(ops.cast(sentences.start, dtype) * step, axis=2, keepdims=True)
        length = ops.maximum(ops.sum(words, axis=2, keepdims=True), 1)
        fraction = ops.sum(words * (step - first + 1) / length, axis=1)[..., None]
        component = ops.arange(1, self.units + 1, dtype=dtype) / self.units
        return ops.cast((1 - fraction) - component * (1 - 2 * fraction), self.compute_dtype)

    def _valid_separator(self, separator: int) -> int:
        non_negative_integer("separator", separator)
        if separator >= self.vocabulary_size:
            expected = f"an integer below `vocabulary_size`, {self.vocabulary_size}"
            raise invalid("separator", expected, separator)
        return separator

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "units": self.units,
            "hops": self.hops,
            "max_sentences": self.max_sentences,
            "separator": self.separator,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }


class _Sentences(NamedTuple):
    """Where the sentences of a batch are; `slots` is the number of sentences that are kept of each text."""

    words: Any
    """Booleans `(batch, slots, time)`, which words belong to the sentence."""
    start: Any
    """Booleans `(batch, slots, time)`, which of them is the first."""
    mask: Any
    """Booleans `(batch, slots)`, which slots are sentences before the question."""
    is_question: Any
    """Booleans `(batch, slots)`, which slot is the question."""
    age: Any
    """Integers `(batch, slots)`, how many sentences lie between this one and the question."""
