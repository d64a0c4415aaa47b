"""Fixed random recurrent layers as encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from components.models.encoders.recurrent import RecurrentEncoderConfig
from components.models.fields import Activation, Units

if TYPE_CHECKING:
    import keras


class EchoStateRNNEncoder(RecurrentEncoderConfig):
    """A reservoir of fixed random weights (Jaeger, 2001); see `model.readout`."""

    type: Literal["echo_state_rnn"]
    default_pooling = "mean"
    default_bidirectional = False
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

    def closed_form_problem(self) -> str | None:
        """None unless there is dropout: the weights are drawn and stay."""
        if self.dropout:
            return (
                "received a closed form with dropout, which acts in training by gradient only; remove dropout"
            )
        return None
