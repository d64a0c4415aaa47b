"""Several devices: `two_devices.py`, in a process that has them."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_training import make_texts, train

from components.errors import UserError


@pytest.mark.slow
def test_on_two_devices():
    tests = Path(__file__).with_name("two_devices.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tests)]
    done = subprocess.run(command, cwd=tests.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_where_there_is_one_device_two_are_refused(tmp_path):
    tokens = make_texts(tmp_path / "tokens")
    with pytest.raises(UserError, match=r"train\.devices: received 2, .* no GPU; expected at most 1. Lower"):
        train(tokens, tmp_path, devices=2)
    (alone, every) = (
        train(tokens, tmp_path / str(devices), devices=devices, epochs=1) for devices in (1, "all")
    )
    assert every.summary["weights"] == alone.summary["weights"]
