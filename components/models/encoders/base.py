"""What an encoder's configuration says of it: its layer, its states, and what it needs before training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from components.plugins import Pluggable
from components.strict import Task

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from components.models.config import ModelConfig
    from components.tokenize.config import Auto, TokenizerConfig
    from components.tokenize.tokenizers import Tokenizer

Misfit = tuple[tuple[str, ...], str]
"""The path of a key within its section, and what is wrong with it."""


class EncoderConfig(Pluggable):
    """The section `model.encoder`: its fields are the keys, and its methods all that is special to the type.

    Only `encoder` must be defined. A class in a module of your own is named as `type: my_module:MyEncoder`.
    """

    reads_tokens: ClassVar[bool] = False
    """Whether the layer takes the token ids themselves, [B, T], instead of their embeddings, [B, T, E]."""
    default_pooling: ClassVar[Literal["last", "mean", "max"]] = "max"
    """classification: what makes one vector of its outputs where `model.pooling` is left out."""
    default_bidirectional: ClassVar[bool] = False
    """classification: what `bidirectional` is, if there is such a key, where it is left out."""
    adapts: ClassVar[bool] = False
    """Whether the layer has to see the train split before training: by `summarize` and `adapt`."""

    @property
    def returns_tokens(self) -> bool:
        """Whether the last axis of the outputs has an entry a token id, and perhaps more behind them."""
        return False

    @abstractmethod
    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes the layer: (inputs, mask [B, T]) -> (outputs [B, S, D], final states by layer).

        S is T, or what the layer's `compute_mask` makes of the mask. The last entry of the states is a list
        of tensors [B, H], the first of which stands for the whole text.

        Args:
            vocabulary_size: number of token ids, for those that read them.
        """

    def final_states(self) -> list[list[int]] | None:
        """Returns the widths of the final states by layer; None, the default, where they are not known.

        If they are, a decoder that cannot start from them is an error of the configuration instead of one in
        the middle of a run. The outputs are as wide as the last layer's first state.
        """
        return None

    def check_model(self, task: Task, model: ModelConfig) -> Iterator[Misfit]:
        """Yields what in the section `model` does not suit this encoder; by default nothing.

        Args:
            task: what the pipeline learns.
            model: the section, of which this is `encoder`.
        """
        yield from ()

    def check_tokenizer(self, tokenizer: TokenizerConfig | Auto) -> Iterator[Misfit]:
        """Yields what in the section of the text's tokenizer does not suit it; by default nothing."""
        yield from ()

    def token_rows(self, layer: keras.layers.Layer) -> list[keras.Variable]:
        """Returns those of the layer's variables whose first axis has an entry a token id, and perhaps more.

        By default none. A warm start copies their rows, and leaves those of new tokens as they were drawn.

        Args:
            layer: what `encoder` made, built.
        """
        return []

    def closed_form_problem(self) -> str | None:
        """Says why the output layer on top of it cannot be fitted in closed form; None if it can.

        By default it cannot: nothing but that layer is fitted then, and other encoders must be trained.
        """
        return (
            f"received a closed form for encoder {self.type}, which would stay untrained; "
            "remove it, or set encoder.type to echo_state_rnn"
        )

    def fused_kernel_problem(self) -> str | None:
        """Says which key rules out a kernel of cuDNN for all steps at once, which the layer has otherwise.

        None, the default, where no key does: the layer always has such a kernel, or never.
        """
        return None

    def prepare(self, encoder: keras.layers.Layer, tokenizer: Tokenizer, field: str) -> None:
        """Tells a new layer what follows from the tokenizer; by default nothing.

        Args:
            encoder: the layer, built.
            tokenizer: of the texts that it reads.
            field: their column, `text` or `source`.

        Raises:
            UserError: the encoder cannot read what the tokenizer makes.
        """

    def summarize(self, encoder: keras.layers.Layer, texts: Iterable[tf.Tensor]) -> Any:
        """Summarizes some of the train split's texts, on any worker, if the encoder `adapts`.

        Args:
            encoder: the layer, not built.
            texts: batches of token ids, int32 [B, T], padded with 0 on the right.

        Returns:
            What `+` joins with the summaries of the other texts, in any order.
        """
        raise NotImplementedError(f"{type(self).__name__} adapts, but does not define `summarize`.")

    def adapt(self, encoder: keras.layers.Layer, summary: Any) -> None:
        """Tells a new layer what the whole train split is like, if the encoder `adapts`.

        Args:
            encoder: the layer, built.
            summary: the sum of what `summarize` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} adapts, but does not define `adapt`.")
