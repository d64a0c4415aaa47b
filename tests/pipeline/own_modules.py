"""Modules such as users write beside their pipeline.yaml; docs/architecture.md shows the same text."""

import sys
from pathlib import Path

import pytest

LAYERS = '''\
"""A minimal gated unit (Zhou et al., 2016): one gate instead of the GRU's two."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="my_layers")
class MGUCell(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units
        self.of_gate = keras.layers.Dense(units, activation="sigmoid")
        self.of_candidate = keras.layers.Dense(units, activation="tanh")

    def build(self, input_shape):
        for dense in (self.of_gate, self.of_candidate):
            dense.build((None, input_shape[-1] + self.units))

    def call(self, inputs, states, training=None):
        (state,) = states
        gate = self.of_gate(ops.concatenate([inputs, state], axis=-1))
        candidate = self.of_candidate(ops.concatenate([inputs, gate * state], axis=-1))
        state = (1 - gate) * state + gate * candidate
        return state, [state]

    def get_config(self):
        return {**super().get_config(), "units": self.units}
'''

ENCODERS = '''\
from typing import Literal

from components.models.encoders import RecurrentEncoderConfig


class MGUEncoder(RecurrentEncoderConfig):
    """Minimal gated units."""

    start: Literal["zeros"] = "zeros"
    """Where the state starts."""

    def layer(self):
        import keras

        from my_layers import MGUCell

        return keras.layers.RNN(MGUCell(self.units))
'''

METRICS = '''\
import numpy as np

from components.evaluate.metrics import MetricInfo, SummedMetric


class SureMistakes(SummedMetric):
    """Wrong answers whose score is at least 0.5, over all answers."""

    def columns(self, answers):
        wrong = ~np.asarray(answers.correct)
        return {"sure and wrong": wrong & (answers.scores >= 0.5), "all": np.ones(len(wrong))}

    def score(self, sums):
        return sums["sure and wrong"] / np.maximum(sums["all"], 1)


sure_mistakes = MetricInfo(
    "sure_mistakes", ("classification",), SureMistakes, smaller_is_better=True, by_example=True, by_score=True
)
'''


def write(folder: Path) -> None:
    """Writes my_layers.py, my_encoders.py and my_metrics.py."""
    for name, text in (("my_layers", LAYERS), ("my_encoders", ENCODERS), ("my_metrics", METRICS)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a test begin without the modules of another, and end with the path that Python began it with."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]
