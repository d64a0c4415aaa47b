"""The GPUs of this machine: those that TensorFlow uses, and those that it does not see."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

_NODES = Path("/dev")
_LISTED = re.compile(r"GPU \d+: (.+?) \(UUID")  # by nvidia-smi -L
_SECONDS = 10.0  # until a driver counts as hanging


def grow_memory() -> None:
    """Has TensorFlow take a GPU's memory as it needs it, and not all of it at once.

    Where a GPU is in use already, its memory stays as it is. TF_FORCE_GPU_ALLOW_GROWTH overrules this.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError, ValueError):  # in use, or cut into logical devices
            tf.config.experimental.set_memory_growth(gpu, True)


def unseen_gpus() -> list[str]:
    """Returns the NVIDIA GPUs of this machine, by name, if TensorFlow sees none and they are not hidden."""
    import tensorflow as tf

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if hidden or tf.config.list_physical_devices("GPU"):
        return []
    nodes = [f"/dev/{node.name}" for node in sorted(_NODES.glob("nvidia[0-9]*"))]
    return _listed() or nodes


def _listed() -> list[str]:
    """What the driver's tool lists, if it is there and works."""
    if not (tool := shutil.which("nvidia-smi")):
        return []
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return _LISTED.findall(done.stdout)
