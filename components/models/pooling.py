"""A sequence to one vector: what needs no layer, and the configuration of hard attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from components.strict import Strict

if TYPE_CHECKING:
    from layers import AttentionPooling, HardSelection

_Fraction = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]

_OF_ESTIMATOR = {
    "reinforce": ("entropy", "baseline_decay"),
    "straight_through": ("temperature", "min_temperature", "temperature_decay"),
}


class HardSelectionConfig(Strict):
    """How hard attention chooses and learns to."""

    training_only: ClassVar[frozenset[str]] = frozenset(
        {"estimator", "soft_mixing", *(name for names in _OF_ESTIMATOR.values() for name in names)}
    )
    estimator: Literal["reinforce", "straight_through"] = "reinforce"
    """How the choice gets a gradient: by its effect on the loss (unbiased), or by a relaxation (steadier)."""
    soft_mixing: _Fraction = 0.5
    """Fraction of the training batches that average over all positions, as soft attention does."""
    entropy: Annotated[float, Field(ge=0)] = 0.002
    """reinforce: weight of a bonus for undecided choices, which keeps the search going."""
    baseline_decay: _Fraction = 0.9
    """reinforce: how much of the running mean of the loss stays in each batch; a loss counts against it."""
    temperature: _Positive = 1.0
    """straight_through: softness of the relaxation at the start."""
    min_temperature: _Positive = 0.5
    """straight_through: the temperature falls no further."""
    temperature_decay: Annotated[float, Field(gt=0, le=1)] = 0.9999
    """straight_through: what every batch multiplies the temperature by."""

    @model_validator(mode="after")
    def _fits_together(self) -> HardSelectionConfig:
        if self.min_temperature > self.temperature:
            raise ValueError(
                f"temperature received {self.temperature}, expected at least min_temperature "
                f"({self.min_temperature}), below which it does not fall; set both"
            )
        for estimator, names in _OF_ESTIMATOR.items():
            for name in names if estimator != self.estimator else ():
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} received {getattr(self, name)}, but the estimator is {self.estimator};"
                        f" remove it, or set estimator to {estimator}"
                    )
        return self

    def selection(self) -> HardSelection:
        """Makes layers.HardSelection."""
        from layers import HardSelection

        return HardSelection(
            self.estimator,
            baseline_decay=self.baseline_decay,
            entropy=self.entropy,
            soft_mixing=self.soft_mixing,
            temperature=self.temperature,
            min_temperature=self.min_temperature,
            temperature_decay=self.temperature_decay,
            name="selection",
        )


class HardAttentionPooling(HardSelectionConfig):
    """One step of the encoder's outputs, chosen by attention (Xu et al., 2015)."""

    type: Literal["hard_attention"]

    def pooling(self) -> AttentionPooling:
        """Makes layers.AttentionPooling."""
        from layers import AttentionPooling

        return AttentionPooling(selection=self.selection(), name="attention_pooling")


def pool(outputs: Any, states: Any, mask: Any, pooling: str) -> Any:
    """Summarises what an encoder made of a text.

    Args:
        outputs: [B, T, D].
        states: the encoder's final states, by layer.
        mask: booleans [B, T]; False is padding.
        pooling: `last` takes the top layer's final hidden state (in both directions, so the backward one has
            read the whole text too); `mean` and `max` go over the real steps.

    Returns:
        [B, D]; zeros for a row without any real step.
    """
    from keras import ops

    if pooling == "last":
        return states[-1][0]
    real = ops.expand_dims(ops.cast(mask, outputs.dtype), -1)
    if pooling == "mean":
        return ops.sum(outputs * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1)
    lowest = ops.where(ops.expand_dims(mask, -1), outputs, ops.full_like(outputs, -1e4))
    return ops.where(ops.any(mask, axis=1, keepdims=True), ops.max(lowest, axis=1, initial=-1e4), 0)
