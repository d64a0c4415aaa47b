"""Sweeps: two trials at a time beside one, halving beside full training, and how long planning takes.

    python benchmarks/sweep.py [--trials 8] [--halved 16] [--lines 6000] [--repeat 3] [--quick]

First the same trials of a small classifier on data/languages by `sweep.parallel: 1`, where a trial has all
cores, and by `sweep.parallel: 2`, where it has half of them; and by `parallel: 1` on half of the cores, which
tells what a trial gains from the other half. They take turns, in fresh processes; medians are printed of the
whole command, and of its part from the first epoch's begin to the last one's end. The rest is start-up:
Python and its libraries, ingest and tokenize, and the start of the trials' processes. Then more trials are
trained to their end, and again with halving: both times, the epochs that were trained, and what was picked.
Last the CPU time of planning 1,000 trials. Exit code 1 if two at a time are not 1.6 times as fast as one, by
the part without start-up, or planning takes 2 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)  # beside this file is another `layers`

from components import files  # noqa: E402
from pipeline.config import load_config  # noqa: E402
from pipeline.config.places import Places  # noqa: E402
from pipeline.plan.planning import make_plan  # noqa: E402
from pipeline.run.observe import read_records  # noqa: E402
from pipeline.run.record import RunRecord  # noqa: E402
from pipeline.store.store import Store  # noqa: E402

FASTER, PLANNED = 1.6, 2.0
CORES = sorted(os.sched_getaffinity(0))
MODEL = "model={embedding_size: 32, encoder: {type: gru, units: 64, bidirectional: true}, pooling: max}"
OVER = "{train.optimizer.learning_rate: {log_uniform: [0.0003, 0.03]}, model.dropout: {uniform: [0, 0.5]}}"


class Taken(NamedTuple):
    """The seconds of a sweep.

    Args:
        whole: of the command.
        training: of it, from the first epoch's begin to the last one's end.
        record: of the run.
    """

    whole: float
    training: float
    record: RunRecord


def settings(
    folder: Path, lines: int, trials: int, epochs: int, parallel: int, more: Sequence[str] = ()
) -> list[str]:
    """Returns what is set in examples/languages.yaml, with the first lines of its data."""
    made = []
    for split, count in (("train", lines), ("validation", max(lines // 8, 100)), ("test", 100)):
        rows = (
            (REPOSITORY / f"data/languages/{split}.tsv").read_text(encoding="utf-8").splitlines()[: count + 1]
        )
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        made.append(f"ingest.files.{split}={folder / split}.tsv")
    sweep = f"sweep={{over: {OVER}, search: random, trials: {trials}, parallel: {parallel}}}"
    train = (f"train.epochs={epochs}", "train.learning_rate_schedule=constant")
    return [*made, f"root={folder / 'runs'}", "tracking.enabled=false", MODEL, *train, sweep, *more]


def sweep(settings: Sequence[str], cores: Collection[int]) -> Taken:
    """Runs a sweep in a fresh process on some of the cores."""
    command = [sys.executable, "-m", "pipeline", "run", "examples/languages.yaml", "--until", "train"]
    command += [part for setting in settings for part in ("--set", setting)]
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # which the process inherits
    try:
        began = time.monotonic()
        subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
        whole = time.monotonic() - began
    finally:
        os.sched_setaffinity(0, all_cores)
    root = next(each.partition("=")[2] for each in settings if each.startswith("root="))
    (record,) = read_records(files.resolve(root))
    trained = [node for node in record.nodes.values() if node.stage == "train" and node.history]
    begins = [
        node.epoch_times[int(epoch["epoch"])] / 1000 - epoch["seconds"]
        for node in trained
        for epoch in node.history
    ]
    ends = [max(node.epoch_times.values()) / 1000 for node in trained]
    return Taken(whole, max(ends) - min(begins), record)


def overlapping(trials: int, lines: int, epochs: int, repeat: int) -> float:
    """Prints what two trials at a time gain; returns how many times as fast they are, without start-up."""
    cases = {
        "parallel: 1": (1, CORES),
        "parallel: 2": (2, CORES),
        "parallel: 1 on half of the cores": (1, CORES[: max(len(CORES) // 2, 1)]),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in cases}
    for _ in range(repeat):
        for name, (parallel, cores) in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                made = settings(Path(folder), lines, trials, epochs, parallel)
                taken[name].append(sweep(made, cores))
    print(f"\n{trials} trials of {epochs} epochs on {lines:,} lines, {len(CORES)} cores, medians of {repeat}")
    middle = {
        name: Taken(*(statistics.median(each[part] for each in runs) for part in (0, 1)), runs[0].record)
        for name, runs in taken.items()
    }
    one = middle["parallel: 1"]
    for name, median in middle.items():
        print(
            f"{name:34} {median.whole:7.1f} s, {one.whole / median.whole:4.2f} times as fast; "
            f"without start-up {median.training:7.1f} s, {one.training / median.training:4.2f} times as fast"
        )
    return one.training / middle["parallel: 2"].training


def halving(trials: int, lines: int, epochs: int) -> None:
    """Prints what halving saves, and whether it picks the same."""
    taken = {}
    for name, more in (
        ("to the end", []),
        ("halving", ["sweep.halving={reduction_factor: 4, min_epochs: 1}"]),
    ):
        with tempfile.TemporaryDirectory() as folder:
            taken[name] = sweep(settings(Path(folder), lines, trials, epochs, 2, more), CORES)
    print(f"\n{trials} trials of up to {epochs} epochs on {lines:,} lines, two at a time")
    full, halved = taken["to the end"], taken["halving"]
    for name, each in taken.items():
        trained = sum(len(node.history) for node in each.record.nodes.values())
        print(
            f"{name:34} {each.whole:7.1f} s, without start-up {each.training:7.1f} s; {trained} epochs, "
            f"picked trial {each.record.pick}"
        )
    place = [ranked.group for ranked in full.record.rungs[-1].ranking].index(halved.record.pick) + 1
    same = halved.record.pick == full.record.pick
    picked = "the same" if same else f"another one, which is number {place} of {trials} when all are trained"
    print(
        f"halving is {full.whole / halved.whole:.2f} times as fast, {full.training / halved.training:.2f} "
        f"without start-up; its pick is {picked}"
    )


def planning(trials: int = 1000) -> float:
    """Prints the CPU time of planning; returns it."""
    with tempfile.TemporaryDirectory() as folder:
        made = settings(Path(folder), 100, trials, 4, 1)
        began = time.process_time()
        config = load_config(REPOSITORY / "examples/languages.yaml", made)
        read = time.process_time()
        places = Places.of(config)
        plan = make_plan(config, places, Store(places.root))
        done = time.process_time()
    assert len(plan.trials) == trials
    print(
        f"\nplanning {trials:,} trials: {done - read:.2f} s of CPU, and {read - began:.2f} s to read "
        "and check the configuration"
    )
    return done - read


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=8, help="of which two are trained at a time")
    parser.add_argument("--halved", type=int, default=16, help="trials of the halving")
    parser.add_argument("--lines", type=int, default=6000, help="of the train split")
    parser.add_argument("--epochs", type=int, default=2, help="of the first comparison")
    parser.add_argument("--repeat", type=int, default=3, help="turns of the first comparison")
    parser.add_argument("--quick", action="store_true", help="little data, one turn: whether it works")
    arguments = parser.parse_args()
    lines, repeat = (400, 1) if arguments.quick else (arguments.lines, arguments.repeat)
    faster = overlapping(arguments.trials, lines, arguments.epochs, repeat)
    halving(arguments.halved, lines, 4)
    planned = planning()
    return int(faster < FASTER or planned >= PLANNED)


if __name__ == "__main__":
    sys.exit(main())
