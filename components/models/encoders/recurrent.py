"""Stacks of recurrent layers as encoders."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from components.models.encoders.base import EncoderConfig
from components.models.fields import Activation, Clockwork, Gated, GatedMemory, Recurrent

if TYPE_CHECKING:
    import keras


class StackedEncoderConfig(Recurrent, EncoderConfig):
    """The keys of layers on top of each other; what the stack is made of is up to the subclass."""

    hidden_states: ClassVar[int] = 1
    """How many states of width `units` each layer ends in, in each direction."""
    default_bidirectional: ClassVar[bool] = True
    bidirectional: bool = False
    """Reads the text in both directions and concatenates the two outputs. Default: for classification true,
    but for echo_state_rnn; for seq2seq false."""
    residual: bool = False
    """Adds each layer's input to its output, from the second layer on."""

    def final_states(self) -> list[list[int]] | None:
        """Those of both directions side by side."""
        width = self.units * (2 if self.bidirectional else 1)
        return [[width] * self.hidden_states] * self.num_layers


class RecurrentEncoderConfig(StackedEncoderConfig):
    """A stack of one kind of recurrent layer: all that a class of your own must define is `layer`."""

    @abstractmethod
    def layer(self) -> keras.layers.RNN:
        """Makes one recurrent layer, unbuilt: the template of the stack.

        It must be restored by `from_config`, and take the arguments of `keras.layers.RNN`.
        """

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


def _unfused(config: Gated) -> str | None:
    """What Keras' layers need to use cuDNN; biases and masks are always as it expects them."""
    for key, fused in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if (received := getattr(config, key)) != fused:
            return f"cuDNN's fused kernel has {key} {fused} only, and not {received}"
    return None


class SimpleRNNEncoder(RecurrentEncoderConfig):
    """Elman's network."""

    type: Literal["simple_rnn"]
    activation: Activation = "tanh"
    """Of the state."""

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.SimpleRNN."""
        from keras import layers

        return layers.SimpleRNN(self.units, activation=self.activation)


class GRUEncoder(Gated, RecurrentEncoderConfig):
    """Gated recurrent units (Cho et al., 2014)."""

    type: Literal["gru"]

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.GRU."""
        from keras import layers

        return layers.GRU(
            self.units, activation=self.activation, recurrent_activation=self.recurrent_activation
        )

    def fused_kernel_problem(self) -> str | None:
        """Other activations than its own."""
        return _unfused(self)


class LSTMEncoder(GatedMemory, RecurrentEncoderConfig):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    type: Literal["lstm"]
    hidden_states: ClassVar[int] = 2

    def layer(self) -> keras.layers.RNN:
        """Makes keras.layers.LSTM, or with other gates layers.LSTMVariant."""
        if self.has_keras_gates:
            from keras.layers import LSTM

            return LSTM(self.units, **self.gate_arguments)
        from layers import LSTMVariant

        return LSTMVariant(self.units, **self.gate_arguments)

    def fused_kernel_problem(self) -> str | None:
        """Other gates or activations than its own."""
        if not self.has_keras_gates:
            return "cuDNN's fused kernel has all gates, and none that are coupled"
        return _unfused(self)


class IdentityRNNEncoder(RecurrentEncoderConfig):
    """IRNN: rectified units that start as the identity (Le et al., 2015). Keep train.global_clipnorm."""

    type: Literal["identity_rnn"]

    def layer(self) -> keras.layers.RNN:
        """Makes layers.IdentityRNN."""
        from layers import IdentityRNN

        return IdentityRNN(self.units)


class ClockworkRNNEncoder(Clockwork, RecurrentEncoderConfig):
    """Groups of units that run at periods of their own (Koutnik et al., 2014)."""

    type: Literal["clockwork_rnn"]

    def layer(self) -> keras.layers.RNN:
        """Makes layers.ClockworkRNN."""
        from layers import ClockworkRNN

        return ClockworkRNN(self.units, periods=self.periods, activation=self.activation)
