"""The same job on this process, on worker processes and on Prism; and two worker processes beside one.

    python benchmarks/cluster.py [--epochs 1] [--lines 1000000] [--repeat 3] [--only runners|workers]

First the default job by every runner: the whole command, what of it the stages took by their manifests, and
the rest, which is start-up: importing, starting workers, submitting, looking at the end. Prism is left out
where it is not installed (tests/remote/install.sh). Then ingest and tokenize of many lines in four files, by
one worker process and by two, one after the other, several times: medians, and how often as fast.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ingest_tokenize import REPOSITORY, write_lines

BIN = Path(os.environ.get("RNNPIPE_TEST_BIN", Path.home() / ".cache/rnnpipe-test-bin"))


def run(
    folder: Path, config: str, *options: str, flags: tuple[str, ...] = ()
) -> tuple[float, dict[str, float]]:
    """Runs a configuration in a fresh process; returns its seconds, and those of its stages."""
    from components import files
    from pipeline.run.observe import read_records

    settings = [f"root={folder}/runs", f"export.directory={folder}/serving", "tracking.enabled=false"]
    command = [sys.executable, "-m", "pipeline", "run", config]
    command += [f"--set={setting}" for setting in settings] + list(options)
    began = time.monotonic()
    subprocess.run([*command, "--", *flags], check=True, stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    seconds = time.monotonic() - began
    (record,) = read_records(files.resolve(folder / "runs"))
    return seconds, {name: node.seconds or 0.0 for name, node in record.nodes.items()}


@contextlib.contextmanager
def serving(*command: str, port: int) -> Iterator[None]:
    """Runs a server until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=REPOSITORY)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with code {process.returncode}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def prism() -> Iterator[tuple[str, ...]]:
    """Starts Prism and a pool of workers in this environment; gives the flags that lead there."""
    jobs, web, pool = (_free_port() for _ in range(3))
    environment = Path(sys.executable).parent
    os.environ["PATH"] = (
        f"{environment}{os.pathsep}{os.environ['PATH']}"  # the pool starts workers as `python`
    )
    workers = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"]
    with (
        serving(str(BIN / "prism"), f"-job_port={jobs}", f"-web_port={web}", port=jobs),
        serving(*workers, port=pool),
    ):
        yield (
            f"--job_endpoint=localhost:{jobs}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        )


def compare_runners(epochs: int) -> None:
    """Prints the default job by every runner."""
    took: dict[str, tuple[float, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for runner in ("local", "processes"):
            options = f"--set=train.epochs={epochs}", f"--set=runner.type={runner}"
            took[runner] = run(Path(name) / runner, "pipeline.yaml", *options)
        if shutil.which(BIN / "prism"):
            shared = "--set=runner={type: portable, shared_files: true}"
            with prism() as flags:
                took["Prism"] = run(
                    Path(name) / "prism", "pipeline.yaml", f"--set=train.epochs={epochs}", shared, flags=flags
                )
        else:
            print("Prism is not installed: tests/remote/install.sh")
    stages = list(took["local"][1])
    print(f"{'runner':>10} {'command s':>10} {'start-up s':>10} " + " ".join(f"{s:>9}" for s in stages))
    for runner, (seconds, by_stage) in took.items():
        rest = seconds - sum(by_stage.values())
        cells = " ".join(f"{by_stage[stage]:9.1f}" for stage in stages)
        print(f"{runner:>10} {seconds:10.1f} {rest:10.1f} {cells}")
    for runner, (seconds, _) in took.items():
        if runner != "local":
            print(f"{runner} / local, whole command: {seconds / took['local'][0]:.2f}")


def compare_workers(lines: int, repeat: int) -> float:
    """Prints ingest and tokenize by one and by two worker processes; returns how often as fast two are."""
    took: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        for part in range(4):
            write_lines(Path(name) / f"part-{part}.tsv", lines // 4)
        config = Path(name) / "bench.yaml"
        config.write_text(
            json.dumps(
                {
                    "name": "bench",
                    "task": "classification",
                    "ingest": {"files": f"{name}/part-*.tsv"},
                    "model": {"encoder": {"type": "gru"}},
                }
            ),
            encoding="utf-8",
        )
        for round_ in range(repeat):
            for workers in took:
                runner = f"--set=runner={{type: processes, options: {{direct_num_workers: {workers}}}}}"
                folder = Path(name) / f"{workers}-{round_}"
                seconds, by_stage = run(folder, str(config), runner, "--until=tokenize")
                stages = sum(by_stage.values())
                took[workers].append((seconds, stages))
                shutil.rmtree(folder)
                print(f"{lines:,} lines, {workers} workers: {seconds:.1f} s, stages {stages:.1f} s")
    median = {
        workers: tuple(statistics.median(column) for column in zip(*times, strict=True))
        for workers, times in took.items()
    }
    print(
        f"two worker processes are {median[1][0] / median[2][0]:.2f} times as fast (whole command, medians)"
    )
    ratio = median[1][1] / median[2][1]
    print(f"two worker processes are {ratio:.2f} times as fast (stages without start-up; at least 1.6)")
    return ratio


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main() -> None:
    """Measures and prints; exit code 1 if two worker processes are less than 1.6 times as fast as one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=["runners", "workers"])
    given = parser.parse_args()
    if given.only != "workers":
        compare_runners(given.epochs)
    if given.only != "runners":
        sys.exit(compare_workers(given.lines, given.repeat) < 1.6)


if __name__ == "__main__":
    main()
