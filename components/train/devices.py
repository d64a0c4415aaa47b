"""The devices that a training computes on, and those that it leaves idle."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from components.errors import UserError
from components.gpus import grow_memory, unseen_gpus
from components.models.reinforce import ReinforcedModel
from components.reports import Warned, emit

_CPUS = Path("/proc/cpuinfo")


def training_strategy(devices: int | Literal["all"]) -> tf.distribute.Strategy:
    """Returns where to train: TensorFlow's default for one device, otherwise on the first of the worker's.

    Args:
        devices: how many of the GPUs, or where there are none of the CPU devices, of which a process has one.

    Raises:
        UserError: there are not so many.
    """
    grow_memory()
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if devices == 1:
        return tf.distribute.get_strategy()
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    wanted = len(names) if devices == "all" else devices
    if wanted > len(names):
        have = f"{len(names)} GPU{'s' if len(names) > 1 else ''}" if kind == "GPU" else "no GPU"
        raise UserError(
            f"train.devices: received {wanted}, but the worker that trains has {have}; expected at most "
            f"{len(names)}. Lower it, set it to all, or train on a machine with more GPUs (on Dataflow by "
            "train.resources.accelerator)."
        )
    return _mirrored(tuple(names[:wanted])) if wanted > 1 else tf.distribute.get_strategy()


@cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """One for a process, as two on the same devices mistake each other's sums for their own."""
    return tf.distribute.MirroredStrategy(names)


def device_facts(devices: int = 1) -> dict[str, Any]:
    """Describes, for the summary of an artifact, what this process computes on.

    Args:
        devices: how many of the GPUs, or of the CPU devices, are used.

    Returns:
        `device`, such as "2 GPUs: NVIDIA H200" or "CPU: Intel Xeon (2 cores)", and `threads`, TensorFlow's
        for one operation (`intra_op`) and for independent ones (`inter_op`).
    """
    names = Counter(map(_name, tf.config.list_physical_devices("GPU")[:devices]))
    if names:
        count = names.total()
        device = f"{'GPU' if count == 1 else f'{count} GPUs'}: {', '.join(names)}"
    else:
        device = f"{'CPU' if devices == 1 else f'{devices} CPU devices'}: {_cpu()} ({_cores()} cores)"
    return {"device": device, "threads": threads()}


def threads() -> dict[str, int]:
    """Returns TensorFlow's threads in this process: `intra_op`, on which last bits depend, and `inter_op`.

    Without a setting of TensorFlow's own they are what the environment said when it was loaded, as of a
    trial's process, or the cores.
    """
    config = tf.config.threading
    set_ = {
        "intra_op": config.get_intra_op_parallelism_threads(),
        "inter_op": config.get_inter_op_parallelism_threads(),
    }
    return {name: count or _of_environment(name) or _cores() for name, count in set_.items()}


def _of_environment(name: str) -> int:
    """As TensorFlow reads it; it has no function that tells."""
    count = os.environ.get(f"TF_NUM_{name.replace('_', '').upper()}_THREADS", "")
    return int(count) if count.isdecimal() else 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _name(gpu: tf.config.PhysicalDevice) -> str:
    name: str = tf.config.experimental.get_device_details(gpu).get("device_name", "of unknown make")
    return name


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", _CPUS.read_text(), re.MULTILINE)
    except OSError:  # not on Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def warn_of_unseen_gpus() -> None:
    """Warns of a GPU that TensorFlow does not see."""
    if unseen := unseen_gpus():
        emit(
            Warned(
                "train",
                f"this machine has a GPU ({', '.join(unseen)}) that TensorFlow does not see, so the training "
                "is on the CPU: install CUDA's libraries by `pip install 'rnnpipe[gpu]'`, and a driver that "
                "is new enough for them, or hide it by CUDA_VISIBLE_DEVICES=-1",
            )
        )


def warn_of_idle_gpus(model: ReinforcedModel, devices: int) -> None:
    """Warns of GPUs that are not used, or not as well as they could be.

    Args:
        model: what is trained.
        devices: how many devices are used.
    """
    warn_of_unseen_gpus()
    gpus = tf.config.list_physical_devices("GPU")
    if devices < len(gpus) and not model.samples(training=True):
        emit(
            Warned(
                "train",
                f"{devices} of {len(gpus)} GPUs are used: `train.devices: all` shares batches out to all, "
                "which pays where they are large; CUDA_VISIBLE_DEVICES keeps the others for other work",
            )
        )
    if gpus and (problem := model.config.encoder.fused_kernel_problem()):
        emit(Warned("train", f"model.encoder: {problem}, so the GPU goes step by step, which is slower"))
