"""Graphics processors, of which the machine of the tests has none: TensorFlow is told otherwise."""

import importlib
import re
import stat
import subprocess
import sys
from collections import namedtuple

import keras
import pytest
import tensorflow as tf
from tiny_training import HARD, MODEL, make_texts, train

from components import gpus
from components.errors import UserError
from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.encoders import ENCODERS
from components.out_of_memory import naming_batch_size
from components.reports import Warned, listening
from components.train import devices
from components.train.devices import device_facts, warn_of_idle_gpus
from components.train.loop import Trainer

Gpu = namedtuple("Gpu", ["name", "device_type"])
FULL = (
    "Graph execution error:\n\nDetected at node x\n\nOOM when allocating tensor on GPU:0\n\t [[{{node x}}]]"
)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine whose GPUs TensorFlow sees, or which has some that it does not see."""

    class Machine:
        def sees(self, *names):
            found = [Gpu(f"/physical_device:GPU:{index}", "GPU") for index in range(len(names))]
            make = {gpu: {"device_name": name} for gpu, name in zip(found, names, strict=True)}
            monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: found)
            monkeypatch.setattr(tf.config.experimental, "get_device_details", make.get)

        def has(self, *nodes, listed="", fails=False):
            for node in nodes:
                (tmp_path / node).touch()
            monkeypatch.setattr(gpus, "_NODES", tmp_path)
            tool = tmp_path / "nvidia-smi"
            if listed or fails:
                tool.write_text(f"#!/bin/sh\necho '{listed}'\nexit {int(fails)}\n")
                tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
            monkeypatch.setenv("PATH", str(tmp_path))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return Machine()


def warnings_of(model=MODEL, used=1):
    model = ModelConfig.model_validate(model)
    task = "seq2seq" if model.decoder else "classification"
    built = build_model(model, task, {"text": 10, "label": 2, "source": 10, "target": 10})
    events = []
    with listening(events.append):
        warn_of_idle_gpus(built, used)
    assert all(isinstance(event, Warned) for event in events)
    return [event.message for event in events]


def encoder(**settings):
    return {"encoder": {"units": 4, **settings}}


# What a training was done on.


def test_the_device_of_a_training_is_noted(tmp_path):
    tokens = make_texts(tmp_path / "tokens")
    summary = train(tokens, tmp_path, epochs=1).summary
    assert re.fullmatch(r"CPU: .+ \(\d+ cores\)", summary["device"])
    assert summary["threads"].keys() == {"intra_op", "inter_op"}
    assert all(count >= 1 for count in summary["threads"].values())


def test_the_device_of_a_readout_is_noted(tmp_path):
    tokens = make_texts(tmp_path / "tokens")
    model = {"encoder": {"type": "echo_state_rnn", "units": 8}, "readout": {"type": "ridge", "alphas": [1.0]}}
    assert train(tokens, tmp_path, model=model).summary["device"] == device_facts()["device"]


def test_gpus_are_named(machine):
    machine.sees("NVIDIA H200", "NVIDIA H200", "Tesla T4")
    assert device_facts(1)["device"] == "GPU: NVIDIA H200"
    assert device_facts(2)["device"] == "2 GPUs: NVIDIA H200"
    assert device_facts(3)["device"] == "3 GPUs: NVIDIA H200, Tesla T4"


def test_a_processor_is_named_by_the_kernel_or_by_python(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_CPUS", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Abacus 9000\nmodel\t: 1\n")
    assert device_facts()["device"].startswith("CPU: Abacus 9000 (")
    (tmp_path / "cpuinfo").unlink()
    monkeypatch.setattr(devices.platform, "processor", lambda: "")
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")
    assert device_facts()["device"].startswith("CPU: arm64 (")


# Warnings.


def test_without_gpus_there_is_nothing_to_say(machine):
    machine.sees()
    machine.has()
    assert warnings_of() == []


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ({"nodes": ["nvidia0", "nvidiactl"]}, "/dev/nvidia0"),
        ({"nodes": ["nvidia0"], "listed": "GPU 0: NVIDIA H200 (UUID: GPU-1)"}, "NVIDIA H200"),
        ({"nodes": [], "listed": "GPU 0: Tesla T4 (UUID: GPU-1)"}, "Tesla T4"),
        ({"nodes": ["nvidia1"], "listed": "no driver", "fails": True}, "/dev/nvidia1"),
    ],
)
def test_a_gpu_that_tensorflow_does_not_see(machine, there, named):
    machine.sees()
    machine.has(*there.pop("nodes"), **there)
    (warning,) = warnings_of()
    assert warning.startswith(f"this machine has a GPU ({named}) that TensorFlow does not see")
    assert "pip install 'rnnpipe[gpu]'" in warning


@pytest.mark.parametrize("hidden", ["", "-1", " -1 "])
def test_a_gpu_that_is_hidden_is_no_surprise(machine, monkeypatch, hidden):
    machine.sees()
    machine.has("nvidia0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert warnings_of() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert len(warnings_of()) == 1


def test_a_gpu_that_is_used_is_no_surprise(machine):
    machine.sees("NVIDIA H200")
    machine.has("nvidia0")
    assert warnings_of() == []


def test_gpus_that_are_left_idle(machine):
    machine.sees("NVIDIA H200", "NVIDIA H200")
    (warning,) = warnings_of()
    assert warning.startswith("1 of 2 GPUs are used: `train.devices: all` shares")
    assert warnings_of(used=2) == []
    assert warnings_of(HARD) == []  # it cannot be shared out


FUSED = {
    "gru": [{}, {"dropout": 0.2, "bidirectional": True, "residual": True, "num_layers": 2}],
    "lstm": [{}, {"dropout": 0.2}],
}
NOT_FUSED = {
    "gru": [{"activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}],
    "lstm": [{"activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}],
}


@pytest.mark.parametrize("kind", FUSED)
def test_the_fused_kernel_is_ruled_out_by_what_rules_it_out_in_keras(kind, monkeypatch):
    kernels = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(kernels, "_is_gpu_available", lambda: True)
    for settings, problem in [
        *((settings, False) for settings in FUSED[kind]),
        *((settings, True) for settings in NOT_FUSED[kind]),
    ]:
        config = ModelConfig.model_validate(encoder(type=kind, **settings)).encoder
        assert bool(config.fused_kernel_problem()) is problem
        layer = config.layer()
        arguments = (layer.activation, layer.recurrent_activation, layer.unroll, layer.use_bias)
        reset_after = getattr(layer, "reset_after", None)
        assert kernels.cudnn_ok(*arguments, reset_after=reset_after) is not problem
        assert not layer.recurrent_dropout


def test_other_gates_have_no_fused_kernel():
    for gates in ({"coupled": True}, {"gates": ["input", "output"]}):
        config = ModelConfig.model_validate(encoder(type="lstm", **gates)).encoder
        assert "all gates" in config.fused_kernel_problem()
        assert not isinstance(config.layer(), keras.layers.LSTM)


def test_no_other_encoder_is_warned_of():
    for kind in set(ENCODERS.types) - {"gru", "lstm"}:
        config = ENCODERS.types[kind].model_validate({"type": kind})
        assert config.fused_kernel_problem() is None


def test_a_setting_without_a_fused_kernel_is_warned_of_on_a_gpu(machine):
    model = encoder(type="gru", activation="relu")
    machine.sees("NVIDIA H200")
    (warning,) = warnings_of(model)
    assert warning == (
        "model.encoder: cuDNN's fused kernel has activation tanh only, and not relu, so the GPU goes step by "
        "step, which is slower"
    )
    machine.sees()
    machine.has()
    assert warnings_of(model) == []


# Memory.


def test_memory_grows_on_all_gpus(machine, monkeypatch):
    machine.sees("NVIDIA H200", "NVIDIA H200")
    growing = []

    def grow(gpu, enable):
        growing.append((gpu.name, enable))
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    gpus.grow_memory()
    assert growing == [("/physical_device:GPU:0", True), ("/physical_device:GPU:1", True)]


def test_memory_grows_from_the_import_on():
    """Once a GPU is in use it is too late."""
    code = (
        "import tensorflow as tf\n"
        "real = tf.config.list_physical_devices\n"
        "tf.config.list_physical_devices = lambda kind=None: ['a gpu'] if kind == 'GPU' else real(kind)\n"
        "tf.config.experimental.set_memory_growth = lambda *each: print('grows', *each)\n"
        "from pipeline.run.libraries import import_tensorflow\n"
        "import_tensorflow()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "grows a gpu True" in done.stdout


@pytest.mark.parametrize(
    ("error", "size", "expected"),
    [
        (
            tf.errors.ResourceExhaustedError(None, None, FULL),
            4096,
            "4096 (OOM when allocating tensor on GPU:0). Set train.batch_size to 2048, or lower the units.",
        ),
        (
            MemoryError("Unable to allocate 8 TiB"),
            3,
            "3 (Unable to allocate 8 TiB). Set train.batch_size to 1, or lower the units.",
        ),
        (MemoryError("nothing is left"), 1, "1 (nothing is left). Lower the units."),
    ],
)
def test_what_does_not_fit_names_the_batch_size(error, size, expected):
    with pytest.raises(UserError) as raised, naming_batch_size("train.batch_size", size, "the units"):
        raise error
    assert str(raised.value) == f"out of memory with train.batch_size {expected}"


@pytest.mark.parametrize(
    "error",
    [tf.errors.ResourceExhaustedError(None, None, "a.tmp; No space left on device"), ValueError("other")],
)
def test_what_is_no_lack_of_memory_stays_what_it_is(error):
    with pytest.raises(type(error)), naming_batch_size("train.batch_size", 2, "the units"):
        raise error


def out_of_memory(*arguments, **keywords):
    """Takes what no machine has, and so raises TensorFlow's own error."""
    return tf.zeros([2**44])


def test_a_training_that_does_not_fit(monkeypatch, tmp_path):
    tokens = make_texts(tmp_path / "tokens")
    monkeypatch.setattr(Trainer, "fit", out_of_memory)
    expected = r"out of memory with train\.batch_size 32 .*OOM.* Set train\.batch_size to 16, or lower"
    with pytest.raises(UserError, match=expected):
        train(tokens, tmp_path, epochs=1)


def test_a_readout_that_does_not_fit(monkeypatch, tmp_path):
    tokens = make_texts(tmp_path / "tokens")
    monkeypatch.setattr("components.train.readout._Features._pieces", out_of_memory)
    model = {"encoder": {"type": "echo_state_rnn", "units": 8}, "readout": {"type": "ridge", "alphas": [1.0]}}
    with pytest.raises(UserError, match=r"out of memory with train\.batch_size 32 .*model\.encoder\.units"):
        train(tokens, tmp_path, model=model)
