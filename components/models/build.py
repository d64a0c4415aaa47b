"""From configuration to a fresh model."""

from __future__ import annotations

import keras

from components.models.classifier import Classifier
from components.models.config import ModelConfig
from components.models.seq2seq import Seq2Seq
from components.strict import Task


def build_model(config: ModelConfig, task: Task, sizes: dict[str, int]) -> keras.Model:
    """Makes a model with new weights.

    Args:
        config: the network.
        task: which of the two kinds of model.
        sizes: number of ids by field of the task; for `label`, the number of classes.

    Returns:
        The model, with its variables made, and with a name that is not counted in the process.
    """
    if task == "classification":
        model: keras.Model = Classifier(
            config, vocabulary_size=sizes["text"], classes=sizes["label"], name="classifier"
        )
        model.build((None, None))
    else:
        model = Seq2Seq(config, source_size=sizes["source"], target_size=sizes["target"], name="seq2seq")
        model.build({"source": (None, None), "previous": (None, None)})
    return model
