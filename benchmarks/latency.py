"""How long the command line takes when nothing has to be computed, and until Ctrl-C ends a training.

    python benchmarks/latency.py

Runs the commands on a small classification in a temporary directory; medians of five (Ctrl-C: of three).
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "pipeline")]

import tiny  # noqa: E402 (the tests' small pipeline)

LIMITS = {"--help": 0.6, "a wrong key": 0.6, "plan": 2.0, "a second run": 2.0, "Ctrl-C in training": 3.0}


def seconds(*arguments: str) -> float:
    """Times one command."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pipeline", *arguments]
    subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    return time.monotonic() - began


def interrupted(config: Path, epochs: int) -> float:
    """Times from SIGINT to the end of a process that trains."""
    process = tiny.start("run", config, "--set", f"train.epochs={epochs}")
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2/" in line:
            break
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    if process.wait() != 130:
        raise SystemExit(f"the interrupted run ended with exit code {process.returncode}, expected 130")
    return time.monotonic() - began


def main() -> None:
    """Measures and prints; exit code 1 if a limit is exceeded."""
    with tempfile.TemporaryDirectory() as folder:
        config = tiny.make(Path(folder))
        tiny.run(config)
        commands = {
            "--help": ["--help"],
            "a wrong key": ["run", str(config), "--set", "train.epoch=6"],
            "plan": ["plan", str(config)],
            "a second run": ["run", str(config)],
        }
        medians = {
            name: statistics.median(seconds(*arguments) for _ in range(5))
            for name, arguments in commands.items()
        }
        medians["Ctrl-C in training"] = statistics.median(
            interrupted(config, epochs) for epochs in (1001, 1002, 1003)
        )
    for name, median in medians.items():
        print(f"{name:<20} {median:6.2f} s (at most {LIMITS[name]})")
    sys.exit(any(median > LIMITS[name] for name, median in medians.items()))


if __name__ == "__main__":
    main()
