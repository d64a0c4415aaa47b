"""Configuration of the training loss, and of how much the examples of a label count in it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.strict import Strict
from components.train.optimizer_config import Positive
from components.words import OrWord


class CrossEntropyLoss(Strict):
    """The negative logarithm of the target's probability."""

    type: Literal["cross_entropy"]


class FocalLoss(Strict):
    """Cross-entropy of which well answered targets count less (Lin et al., 2017)."""

    type: Literal["focal"]
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """How much less: the loss is multiplied by `(1 - p) ** gamma`, where p is the target's probability."""


LossField = Annotated[
    Annotated[CrossEntropyLoss | FocalLoss, Field(discriminator="type")], OrWord("cross_entropy", "focal")
]

ClassWeight = Literal["balanced"] | Annotated[dict[str, Positive], Field(min_length=1)]
