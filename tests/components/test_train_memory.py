"""What a training needs of the memory, and what is said where it may not fit."""

import math

import keras
import pytest
from tiny_training import HARD, MODEL

from components import memory
from components.errors import UserError
from components.models.build import build_model
from components.models.config import ModelConfig
from components.reports import Warned, listening
from components.train import memory as train_memory
from components.train.config import TrainConfig
from components.train.memory import check_memory, estimate, slots

SIZES = {"text": 10, "label": 2, "source": 10, "target": 10}
ENCODERS = [
    {"type": "lstm", "units": 6, "bidirectional": True},
    {"type": "clockwork_rnn", "units": 9},
    {"type": "echo_state_rnn", "units": 12},
    {"type": "cnn_lstm", "units": 5},
    {"type": "text_cnn"},
    {"type": "tfidf"},
    {"type": "memory_network"},
]


def huge(**encoder):
    return ModelConfig.model_validate({"encoder": {"type": "lstm", "units": 20_000, **encoder}})


def shapes_of(variables):
    return [tuple(variable.shape) for variable in variables]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder["type"])
def test_shapes_are_those_of_the_model(encoder):
    config = ModelConfig.model_validate({"encoder": encoder})
    made = build_model(config, "classification", SIZES)
    expected = shapes_of(made.variables), shapes_of(made.trainable_variables)
    assert train_memory._shapes(config, "classification", SIZES) == expected


def test_shapes_of_a_model_that_fits_nowhere():
    """Nothing is allocated for them, whatever draws the values."""
    for kind, least in (("lstm", 1_600_000_000), ("echo_state_rnn", 400_000_000)):
        shapes, _ = train_memory._shapes(huge(type=kind), "classification", SIZES)
        assert sum(map(math.prod, shapes)) > least
    made = build_model(HARD, "seq2seq", SIZES)
    assert train_memory._shapes(HARD, "seq2seq", SIZES)[0] == shapes_of(made.variables)
    assert keras.ops.convert_to_numpy(made.variables[0]).shape == tuple(made.variables[0].shape)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ({"type": "sgd"}, 0),
        ({"type": "sgd", "momentum": 0.9}, 1),
        ({"type": "adagrad"}, 1),
        ({"type": "adam"}, 2),
        ({"type": "adam", "amsgrad": True}, 3),
        ({"type": "lamb"}, 2),
    ],
)
def test_slots_are_those_of_the_optimizer(optimizer, expected):
    config = TrainConfig.model_validate(
        {"optimizer": optimizer, "learning_rate_schedule": {"type": "cosine", "warmup_steps": 50}}
    )
    assert slots(config) == expected
    found = estimate(config, [(10, 4), (4, 8), (8,)], [(4, 8), (8,)], positions=100)
    assert (found.parameters, found.slots) == (4 * 80, 4 * 40 * expected)
    assert found.batch == 4 * (40 + 2 * 100 * 8)


def test_what_cannot_fit_is_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr(train_memory, "memory_limit", lambda: 8_000_000_000)
    with pytest.raises(UserError) as caught:
        check_memory(TrainConfig(), huge(), "classification", SIZES, 12)
    message = str(caught.value)
    assert message.startswith("training needs 6.4 GB for 1,6"), message
    assert "GB for the state of adam, and this process may use 8.0 GB in all. Lower the sizes" in message


def test_what_may_not_fit_is_warned_of(monkeypatch):
    """Parameters and slots fit, gradients and a batch do not."""
    monkeypatch.setattr(train_memory, "memory_limit", lambda: 20_000_000)
    monkeypatch.setattr(train_memory, "free_memory", lambda: 1_000_000)
    events = []
    config = TrainConfig(batch_size=512)
    with listening(events.append):
        check_memory(config, MODEL, "classification", SIZES, 1000)
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert "a batch of 512 texts of 1000 tokens, and 1.0 MB are free" in warned.message
    assert warned.message.endswith("lower the sizes of the model or train.batch_size")


def test_what_fits_is_not_talked_about():
    events = []
    with listening(events.append):
        check_memory(TrainConfig(), MODEL, "classification", SIZES, 12)
    assert events == []


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/a/b\n", {"memory.max": "900", "a/memory.max": "700", "a/b/memory.max": "max"}, 700),
        ("0::/gone\n", {"memory.max": "900"}, 900),
        ("4:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "800"}, 800),
        ("4:memory:/a\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("0::/../..\n", {}, None),
    ],
)
def test_the_limit_is_that_of_the_control_group(monkeypatch, tmp_path, own, files, expected):
    (tmp_path / "own").write_text(own)
    groups = tmp_path / "groups"
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text + "\n")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(
        memory,
        "_LIMITS",
        {"": (groups, "memory.max"), "memory": (groups / "memory", "memory.limit_in_bytes")},
    )
    assert memory.memory_limit() == (expected or memory.psutil.virtual_memory().total)
    assert expected is None or memory.free_memory() == 0


def test_without_control_groups_the_machine_is_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "none")
    assert memory.memory_limit() == memory.psutil.virtual_memory().total
    assert 0 < memory.free_memory() < memory.memory_limit()
