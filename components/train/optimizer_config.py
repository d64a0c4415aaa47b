"""Configuration of the optimizer: Keras' names and Keras' defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.strict import Strict

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class BaseOptimizer(Strict):
    """What all optimizers have."""

    type: str
    learning_rate: Positive = 0.001
    """Step size, which the schedule may change."""
    weight_decay: NotNegative | None = None
    """How much of a weight is taken off at every step, times the learning rate (Loshchilov and Hutter, 2019).
    Biases do not decay; embeddings do."""


class _Epsilon(BaseOptimizer):
    epsilon: Positive = 1e-7
    """Added to what the step is divided by."""


class _Moments(_Epsilon):
    beta_1: Momentum = 0.9
    """Decay of the mean of the gradient."""
    beta_2: Momentum = 0.999
    """Decay of the mean of its square (adamax: of its largest value)."""


class Adam(_Moments):
    """Kingma and Ba (2015)."""

    type: Literal["adam"]
    amsgrad: bool = False
    """Divides by the largest mean square so far (Reddi et al., 2018)."""


class AdamW(_Moments):
    """Adam with weight decay (Loshchilov and Hutter, 2019)."""

    type: Literal["adamw"]
    weight_decay: NotNegative = 0.004
    """How much of a weight is taken off at every step, times the learning rate (Loshchilov and Hutter, 2019).
    Biases do not decay; embeddings do."""
    amsgrad: bool = False
    """Divides by the largest mean square so far (Reddi et al., 2018)."""


class Nadam(_Moments):
    """Adam with Nesterov's momentum (Dozat, 2015)."""

    type: Literal["nadam"]


class Adamax(_Moments):
    """Adam by the largest gradient instead of the mean square (Kingma and Ba, 2015, section 7.1)."""

    type: Literal["adamax"]


class Lamb(_Moments):
    """Adam with a trust ratio for every variable, for large batches (You et al., 2019)."""

    type: Literal["lamb"]


class Adagrad(_Epsilon):
    """Duchi et al. (2011)."""

    type: Literal["adagrad"]
    initial_accumulator_value: NotNegative = 0.1
    """What the sum of the squares of the gradient begins with."""


class Adadelta(_Epsilon):
    """Zeiler (2012), whose step size is a `learning_rate` of 1."""

    type: Literal["adadelta"]
    rho: Momentum = 0.95
    """Decay of the mean square of the gradient, and of the steps."""


class RMSprop(_Epsilon):
    """Tieleman and Hinton (2012)."""

    type: Literal["rmsprop"]
    rho: Momentum = 0.9
    """Decay of the mean square of the gradient."""
    momentum: Momentum = 0.0
    """How much of the last step is kept in the next."""
    centered: bool = False
    """Divides by the variance of the gradient instead of its mean square (Graves, 2013)."""


class SGD(BaseOptimizer):
    """Stochastic gradient descent."""

    type: Literal["sgd"]
    learning_rate: Positive = 0.01
    """Step size, which the schedule may change."""
    momentum: Momentum = 0.0
    """How much of the last step is kept in the next."""
    nesterov: bool = False
    """Nesterov's momentum instead of the plain one."""


class Lion(BaseOptimizer):
    """The sign of the momentum as the step (Chen et al., 2023)."""

    type: Literal["lion"]
    beta_1: Decay = 0.9
    """Share of the momentum in the step; the gradient has the rest."""
    beta_2: Momentum = 0.99
    """Decay of the momentum."""


Optimizer = Annotated[
    Adam | AdamW | Nadam | Adamax | Adagrad | Adadelta | RMSprop | SGD | Lion | Lamb,
    Field(discriminator="type"),
]
