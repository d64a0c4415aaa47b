"""Configuration of the encoders. `Encoder` is their registry; see components.models.config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from components.models.fields import (
    Activation,
    Clockwork,
    Count,
    Gated,
    GatedMemory,
    Rate,
    Recurrent,
    Units,
)
from components.strict import Strict

if TYPE_CHECKING:
    import keras


class _Encoder(Strict):
    reads_tokens: ClassVar[bool] = False
    """Whether it takes the token ids [B, T] themselves instead of their embeddings [B, T, E]."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes the layer: (inputs, mask [B, T]) -> (outputs [B, S, D], final states by layer).

        S is T, or what the layer's `compute_mask` makes of the mask. The last entry of the states is a list
        of tensors [B, H], the first of which stands for the whole text.

        Args:
            vocabulary_size: number of token ids, for those that read them.
        """
        raise TypeError(f"{type(self).__name__} does not say which layer it stands for.")

    def token_rows(self, layer: keras.layers.Layer) -> list[keras.Variable]:
        """Returns those of the layer's variables whose first axis has an entry a token id, and perhaps more.

        Args:
            layer: what `encoder` made, built.
        """
        return []

    @property
    def returns_tokens(self) -> bool:
        """Whether the last axis of the outputs has an entry a token id, and perhaps more behind them."""
        return False


class _RecurrentEncoder(_Encoder, Recurrent):
    bidirectional: bool = False
    """Reads the text in both directions and concatenates the two outputs."""
    residual: bool = False
    """Adds each layer's input to its output, from the second layer on."""

    def layer(self) -> keras.layers.RNN:
        """Makes one recurrent layer, unbuilt: the template of the stack."""
        raise TypeError(f"{type(self).__name__} does not say which layer it stands for.")

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.RecurrentStack."""
        from layers import RecurrentStack

        return RecurrentStack(
            self.layer(),
            depth=self.num_layers,
            bidirectional=self.bidirectional,
            residual=self.residual,
            dropout=self.dropout,
            name="encoder",
        )


class SimpleRNNEncoder(_RecurrentEncoder):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: Activation = "tanh"
    """Of the state."""

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.SimpleRNN."""
        from keras import layers

        return layers.SimpleRNN(self.units, activation=self.activation)


class GRUEncoder(Gated, _RecurrentEncoder):
    """Gated recurrent units (Cho et al., 2014)."""

    type: Literal["gru"]

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.GRU."""
        from keras import layers

        return layers.GRU(
            self.units, activation=self.activation, recurrent_activation=self.recurrent_activation
        )


class LSTMEncoder(GatedMemory, _RecurrentEncoder):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    type: Literal["lstm"]

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.LSTM, or with other gates layers.LSTMVariant."""
        if self.has_keras_gates:
            from keras.layers import LSTM

            return LSTM(self.units, **self.gate_arguments)
        from layers import LSTMVariant

        return LSTMVariant(self.units, **self.gate_arguments)


class IdentityRNNEncoder(_RecurrentEncoder):
    """IRNN: rectified units that start as the identity (Le et al., 2015). Keep train.global_clipnorm."""

    type: Literal["identity_rnn"]

    def layer(self) -> keras.layers.RNN:
        """Makes layers.IdentityRNN."""
        from layers import IdentityRNN

        return IdentityRNN(self.units)


class ClockworkRNNEncoder(Clockwork, _RecurrentEncoder):
    """Groups of units that run at periods of their own (Koutnik et al., 2014)."""

    type: Literal["clockwork_rnn"]

    def layer(self) -> keras.layers.RNN:
        """Makes layers.ClockworkRNN."""
        from layers import ClockworkRNN

        return ClockworkRNN(self.units, periods=self.periods, activation=self.activation)


class EchoStateRNNEncoder(_RecurrentEncoder):
    """A reservoir of fixed random weights (Jaeger, 2001); see `model.readout`."""

    type: Literal["echo_state_rnn"]
    units: Units = 500
    """Units of each layer, in each direction. A readout in closed form needs memory for their square."""
    spectral_radius: Annotated[float, Field(gt=0)] = 0.9
    """Largest absolute eigenvalue of the recurrent weights; the larger, the longer the memory. Well above 1
    the state no longer forgets its start."""
    leak_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How much of the state is replaced at each step."""
    input_scaling: Annotated[float, Field(gt=0)] = 1.0
    """Input weights are drawn between minus this and this."""
    bias_scaling: Annotated[float, Field(ge=0)] = 0.0
    """Biases are drawn between minus this and this."""
    connectivity: Annotated[float, Field(gt=0, le=1)] | None = None
    """Fraction of the units that each unit reads; 10 units (or all, if there are fewer) by default."""
    activation: Activation = "tanh"
    """Of the state."""

    def layer(self) -> keras.layers.RNN:
        """Makes layers.EchoStateRNN."""
        from layers import EchoStateRNN

        return EchoStateRNN(
            self.units,
            spectral_radius=self.spectral_radius,
            leak_rate=self.leak_rate,
            input_scaling=self.input_scaling,
            bias_scaling=self.bias_scaling,
            connectivity=self.connectivity,
            activation=self.activation,
        )


class CNNLSTMEncoder(_RecurrentEncoder):
    """Convolution and pooling shorten the text before LSTMs read it (Zhou et al., 2015)."""

    type: Literal["cnn_lstm"]
    filters: Units = 64
    """Outputs of the convolution."""
    kernel_size: Count = 5
    """Steps that one output of the convolution sees."""
    pool_size: Count = 2
    """Steps that are pooled into one by their maximum."""
    activation: Activation = "relu"
    """Of the convolution."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.CNNLSTM."""
        from layers import CNNLSTM

        return CNNLSTM(
            self.units,
            filters=self.filters,
            kernel_size=self.kernel_size,
            pool_size=self.pool_size,
            activation=self.activation,
            depth=self.num_layers,
            bidirectional=self.bidirectional,
            residual=self.residual,
            dropout=self.dropout,
            name="encoder",
        )


class TextCNNEncoder(_Encoder):
    """Convolutions of several widths side by side; its final state is their maximum over time (Kim, 2014)."""

    renamed: ClassVar = {"widths": "kernel_sizes"}
    type: Literal["text_cnn"]
    filters: Units = 100
    """Outputs of each width."""
    kernel_sizes: list[Count] = Field(default=[3, 4, 5], min_length=1)
    """Steps that the convolutions see."""
    activation: Activation = "relu"
    """Of the convolutions."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.TextCNN."""
        from layers import TextCNN

        return TextCNN(
            self.filters, kernel_sizes=self.kernel_sizes, activation=self.activation, name="encoder"
        )


class TfIdfEncoder(_Encoder):
    """The baseline: tokens counted and weighted by their rarity, and a feed-forward network."""

    renamed: ClassVar = {"layers": "num_layers", "buckets": "hash_bins"}
    training_only: ClassVar = frozenset({"dropout"})
    type: Literal["tfidf"]
    reads_tokens: ClassVar[bool] = True
    units: Units = 128
    """Units of each hidden layer."""
    num_layers: Annotated[int, Field(ge=0)] = 1
    """Hidden layers; 0 (classification) is multinomial logistic regression."""
    dropout: Rate = 0.0
    """Fraction of each hidden layer's outputs dropped in training."""
    activation: Activation = "relu"
    """Of the hidden layers."""
    ngrams: Count = 1
    """Up to this many tokens in a row are counted as one term."""
    hash_bins: Units = 65_536
    """Terms of several tokens are hashed to this many."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.TfIdfNetwork."""
        from layers import TfIdfNetwork

        return TfIdfNetwork(
            vocabulary_size,
            units=self.units,
            depth=self.num_layers,
            dropout=self.dropout,
            activation=self.activation,
            ngrams=self.ngrams,
            hash_bins=self.hash_bins,
            name="encoder",
        )

    def token_rows(self, layer: keras.layers.Layer) -> list[keras.Variable]:
        """Returns the weights of the terms and what reads them: terms of several tokens come last."""
        return [layer.tfidf.idf, *(hidden.kernel for hidden in layer.hidden[:1])]

    @property
    def returns_tokens(self) -> bool:
        """Whether the weighted counts themselves come out."""
        return self.num_layers == 0


class MemoryNetworkEncoder(_Encoder):
    """A memory of sentences that the last one, the question, reads in hops (Sukhbaatar et al., 2015).

    Only its final state has read the question, so a classification pools `last`. As the question comes last,
    texts must be cut at their start: `tokenize.text.truncation_side: left`. The paper clips gradients at 40,
    by train.global_clipnorm.
    """

    type: Literal["memory_network"]
    reads_tokens: ClassVar[bool] = True
    units: Units = 64
    """Width of the embeddings, of each sentence's outputs and of the final state."""
    hops: Count = 3
    """Reads of the memory in a row, each with what the last one found."""
    max_sentences: Count = 50
    """Sentences before the question that are kept, the newest ones."""
    separator: Annotated[str, Field(min_length=1)] = "|"
    """Which token ends a sentence. What follows the last one is the question."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.EndToEndMemoryNetwork, which does not know its separator yet."""
        from layers import EndToEndMemoryNetwork

        return EndToEndMemoryNetwork(
            vocabulary_size,
            units=self.units,
            hops=self.hops,
            max_sentences=self.max_sentences,
            name="encoder",
        )

    def token_rows(self, layer: keras.layers.Layer) -> list[keras.Variable]:
        """Returns the embeddings of all hops."""
        return [layer.embeddings]


Encoder = Annotated[
    SimpleRNNEncoder
    | GRUEncoder
    | LSTMEncoder
    | IdentityRNNEncoder
    | ClockworkRNNEncoder
    | EchoStateRNNEncoder
    | CNNLSTMEncoder
    | TextCNNEncoder
    | TfIdfEncoder
    | MemoryNetworkEncoder,
    Field(discriminator="type"),
]
