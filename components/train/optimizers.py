"""The optimizer, as Keras has it."""

from __future__ import annotations

import keras

from components.train.config import TrainConfig
from components.train.schedules import learning_rate

_CLASSES = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
    "adamax": keras.optimizers.Adamax,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
    "lion": keras.optimizers.Lion,
    "lamb": keras.optimizers.Lamb,
}


def make_optimizer(config: TrainConfig, model: keras.Model, steps: int) -> keras.Optimizer:
    """Makes an optimizer for a model, its variables among it.

    Biases do not decay: pulling an offset to 0 regularizes nothing (Goodfellow et al., 2016, section 7.1).

    Args:
        config: optimizer, schedule and clipping.
        model: built.
        steps: of all epochs together, the length of the schedules that span them.

    Raises:
        UserError: if the schedule does not fit the number of steps.
    """
    kind = config.optimizer.type
    settings = config.optimizer.model_dump(exclude={"type"})
    settings["learning_rate"] = learning_rate(
        config.learning_rate_schedule, config.optimizer.learning_rate, steps
    )
    # Otherwise Keras counts the optimizers of a process, and equal models have different files.
    settings |= {"global_clipnorm": config.global_clipnorm, "name": kind}
    optimizer = _CLASSES[kind](**settings)
    if optimizer.weight_decay:
        biases = [variable for variable in model.trainable_variables if "bias" in variable.name]
        optimizer.exclude_from_weight_decay(var_list=biases)
    if model.dtype_policy.name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")
    optimizer.build(model.trainable_variables)
    return optimizer
