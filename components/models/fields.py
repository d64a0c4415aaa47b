"""Types of values that several layers' configurations share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from components.strict import Strict

Units = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]

# Keras' own that need no arguments and keep the width; named here so that a slip shows before Keras loads.
Activation = Literal[
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
]


class Recurrent(Strict):
    """What every stack of recurrent layers has."""

    renamed: ClassVar[Mapping[str, str]] = {"layers": "num_layers"}
    training_only: ClassVar[frozenset[str]] = frozenset({"dropout"})

    units: Units = 128
    """Units of each layer, in each direction."""
    num_layers: Count = 1
    """How many such layers stand on each other."""
    dropout: Rate = 0.0
    """Fraction of each layer's inputs dropped in training."""


class Clockwork(Recurrent):
    """The groups of units of Clockwork RNNs."""

    periods: list[Annotated[int, Field(ge=1, lt=2**31)]] = Field(default=[1, 2, 4, 8], min_length=1)
    """Steps between two updates of each group of units, increasing; the units are shared out evenly."""
    activation: Activation = "tanh"
    """Of the state."""

    @model_validator(mode="after")
    def _periods_fit(self) -> Clockwork:
        if sorted(set(self.periods)) != self.periods:
            raise ValueError(
                f"periods received {self.periods}, expected increasing numbers, such as [1, 2, 4]"
            )
        if len(self.periods) > self.units:
            raise ValueError(
                f"units received {self.units} for {len(self.periods)} periods, "
                "expected at least one unit for each period"
            )
        return self


class Gated(Strict):
    """The activations of gated units."""

    activation: Activation = "tanh"
    """Of the candidate state. Anything but tanh is slower on a GPU."""
    recurrent_activation: Activation = "sigmoid"
    """Of the gates. Anything but sigmoid is slower on a GPU."""


Gate = Literal["input", "forget", "output"]
_ALL_GATES: list[Gate] = ["input", "forget", "output"]


class GatedMemory(Gated):
    """The gates of a long short-term memory, and which layer has them."""

    gates: list[Gate] = Field(default=_ALL_GATES, json_schema_extra={"uniqueItems": True})
    """Gates to keep (Greff et al., 2017). One that is left out is always open: without `forget` nothing is
    forgotten."""
    coupled: bool = False
    """Whether the forget gate is 1 minus the input gate, which halves their weights."""

    @model_validator(mode="after")
    def _gates_fit(self) -> GatedMemory:
        if len(set(self.gates)) < len(self.gates):
            raise ValueError(f"gates received {self.gates}, expected each gate once; remove what is repeated")
        missing = [gate for gate in ("input", "forget") if gate not in self.gates]
        if self.coupled and missing:
            raise ValueError(
                f"coupled received true without the {missing[0]} gate, expected both an input and a forget "
                f"gate to couple; add {missing[0]} to gates, or set coupled to false"
            )
        return self

    @property
    def has_keras_gates(self) -> bool:
        """Whether Keras' own layer, which is faster, has just these gates."""
        return not self.coupled and len(self.gates) == len(_ALL_GATES)

    @property
    def gate_arguments(self) -> dict[str, Any]:
        """What the layer is made of, beside its units."""
        arguments = {"activation": self.activation, "recurrent_activation": self.recurrent_activation}
        if self.has_keras_gates:
            return arguments
        return {**arguments, "gates": self.gates, "coupled": self.coupled}
