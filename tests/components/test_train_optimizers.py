"""The optimizers: Keras' own, with Keras' defaults."""

import inspect
from typing import get_args

import keras
import numpy as np
import pytest
from tiny_training import PLAIN, data, make_texts, trainer

from components.models.build import build_model
from components.models.config import ModelConfig
from components.train.config import TrainConfig
from components.train.loop import compile_model
from components.train.losses import CrossEntropy
from components.train.optimizer_config import Optimizer

DENSE = ModelConfig.model_validate({"encoder": {"type": "tfidf", "units": 4, "hash_bins": 20}})
OTHERS = {
    "adam": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "amsgrad": True, "weight_decay": 0.1},
    "adamw": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "amsgrad": True, "weight_decay": 0.1},
    "nadam": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1},
    "adamax": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1},
    "adagrad": {"initial_accumulator_value": 0.3, "epsilon": 1e-3, "weight_decay": 0.1},
    "adadelta": {"rho": 0.7, "epsilon": 1e-3, "weight_decay": 0.1},
    "rmsprop": {"rho": 0.7, "momentum": 0.5, "centered": True, "epsilon": 1e-3, "weight_decay": 0.1},
    "sgd": {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
    "lion": {"beta_1": 0.8, "beta_2": 0.9, "weight_decay": 0.1},
    "lamb": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1},
}
CLASSES = {
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
KINDS = get_args(get_args(Optimizer)[0])
MODELS = {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in KINDS}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


def test_all_optimizers_are_tested():
    assert MODELS.keys() == OTHERS.keys() == CLASSES.keys()


@pytest.mark.parametrize("kind", CLASSES)
def test_names_and_defaults_are_those_of_keras(kind):
    signature = inspect.signature(CLASSES[kind].__init__).parameters
    defaults = MODELS[kind](type=kind).model_dump(exclude={"type"})
    assert defaults == {name: signature[name].default for name in defaults}
    general = {"clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor", "name", "self", "kwargs"}
    general |= {"use_ema", "ema_momentum", "ema_overwrite_frequency", "gradient_accumulation_steps"}
    assert defaults.keys() == signature.keys() - general


@pytest.mark.parametrize("kind", CLASSES)
def test_a_step_is_the_one_of_keras(tokens, kind):
    """Two steps of a real training, beside a model that Keras' own class trains."""
    settings = {"learning_rate": 0.05, **OTHERS[kind]}
    keras.utils.set_random_seed(3)
    ours, theirs = (build_model(DENSE, "classification", {"text": 10, "label": 2}) for _ in range(2))
    theirs.set_weights(ours.get_weights())
    start = ours.get_weights()
    config = TrainConfig.model_validate(
        {**PLAIN, "optimizer": {"type": kind, **settings}, "global_clipnorm": 0.5}
    )
    compile_model(ours, config, steps=10)
    optimizer = CLASSES[kind](**settings, global_clipnorm=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    theirs.compile(optimizer=optimizer, loss=CrossEntropy(), jit_compile=False)
    for model in (ours, theirs):
        model.fit(data(tokens).batches([]).take(2), verbose=0, shuffle=False)
    moved = 0
    for before, value, same in zip(start, ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(value, same)
        moved += not np.array_equal(before, value)
    assert moved >= 4


@pytest.mark.parametrize("kind", CLASSES)
def test_it_trains(tokens, tmp_path, kind):
    rates = {"adadelta": 5.0, "sgd": 0.5, "lion": 0.01, "adagrad": 0.2}
    optimizer = {"type": kind, "learning_rate": rates.get(kind, 0.05)}
    history = trainer(tokens, tmp_path, model=DENSE, epochs=4, optimizer=optimizer, length_buckets=1).fit()
    losses = [epoch["loss"] for epoch in history["epochs"]]
    assert losses[-1] < losses[0]


def test_biases_do_not_decay_and_embeddings_do():
    model = build_model(
        ModelConfig.model_validate({"embedding_size": 4, "encoder": {"type": "gru", "units": 4}}),
        "classification",
        {"text": 10, "label": 2},
    )
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    config = TrainConfig.model_validate(
        {"optimizer": {"type": "sgd", "learning_rate": 0.5, "weight_decay": 0.2}}
    )
    compile_model(model, config, steps=10)
    model.optimizer.apply([np.zeros(variable.shape, "float32") for variable in model.trainable_variables])
    decayed = {variable.path: float(np.mean(variable)) for variable in model.trainable_variables}
    assert len(decayed) == 6
    for path, value in decayed.items():
        assert value == pytest.approx(1.0 if "bias" in path else 0.9), path
    assert any("embedding" in path for path in decayed)
