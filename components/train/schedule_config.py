"""Configuration of the learning rate's schedule: a word, or a section of that type."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.strict import Strict
from components.words import OrWord

Steps = Annotated[int, Field(ge=0)]


class _Schedule(Strict):
    type: str
    warmup_steps: Steps = 0
    """Training steps in which the learning rate rises from 0 to the optimizer's, in a straight line."""


class Constant(_Schedule):
    """The optimizer's learning rate throughout."""

    type: Literal["constant"]


class Cosine(_Schedule):
    """Falls to 0 over all epochs, along half a cosine (Loshchilov and Hutter, 2017)."""

    type: Literal["cosine"]


class Linear(_Schedule):
    """Falls to 0 over all epochs, in a straight line (as for BERT: Devlin et al., 2019)."""

    type: Literal["linear"]


class InverseSqrt(_Schedule):
    """After s steps, `sqrt(warmup_steps / s)` of the optimizer's learning rate (Vaswani et al., 2017)."""

    type: Literal["inverse_sqrt"]
    warmup_steps: Annotated[int, Field(ge=1)] = 4000
    """Training steps in which the learning rate rises from 0 to the optimizer's, in a straight line."""


class Plateau(_Schedule):
    """Is reduced when the monitored value no longer improves, as Keras' ReduceLROnPlateau does."""

    type: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What the learning rate is multiplied by."""
    patience: Annotated[int, Field(ge=1)] = 1
    """Validations without improvement before it is."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0001
    """Smaller improvements of the monitored value do not count."""
    min_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    """It becomes no smaller than this."""


Schedule = Constant | Cosine | Linear | InverseSqrt | Plateau


ScheduleField = Annotated[
    Annotated[Schedule, Field(discriminator="type")],
    OrWord("constant", "cosine", "linear", "inverse_sqrt", "plateau"),
]
