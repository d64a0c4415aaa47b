"""Training by the train stage beside a plain Keras loop, and where the time of the default run goes.

    python benchmarks/train_step.py [--turns 5]

First runs pipeline.yaml in a process of its own, and prints how long it took to start and what every stage
took. Then trains its model in turns: by the stage's loop (examples read from Parquet, shuffled, bucketed and
padded; progress and status reported, signs of life given, validated, and a checkpoint kept), and by
`model.fit` and `model.evaluate` alone on the same batches, which are kept in memory. What is compiled at the
first epoch is not counted. The stage is deterministic; the loop is timed so, and at TensorFlow's defaults.
Exit code 1 if the stage takes more than 5 % longer than either.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)  # beside this file is another `layers`

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.framework import config as tensorflow_config  # noqa: E402

from components import files  # noqa: E402
from components.artifacts.tokens import Tokens  # noqa: E402
from components.heartbeat import Heartbeat  # noqa: E402
from components.strict import Split  # noqa: E402
from components.train.checkpoint import Checkpoints  # noqa: E402
from components.train.dataset import TokenData  # noqa: E402
from components.train.loop import Trainer  # noqa: E402
from components.train.scope import training_scope  # noqa: E402
from components.train.start import new_model  # noqa: E402
from components.work import Work  # noqa: E402
from pipeline.config import PipelineConfig, load_config  # noqa: E402
from pipeline.run.observe import read_records  # noqa: E402
from pipeline.run.record import RunRecord  # noqa: E402

LIMIT = 1.05
STAGE, PLAIN, DEFAULTS = "the train stage", "Keras, deterministic", "Keras, defaults"


def default_run(folder: Path) -> RunRecord:
    """Runs the default pipeline; prints what it took."""
    settings = (
        f"root={folder}",
        f"export.directory={folder / 'serving'}",
        f"tracking.uri=sqlite:///{folder}.db",
    )
    command = [sys.executable, "-m", "pipeline", "run", "pipeline.yaml"]
    command += [part for setting in settings for part in ("--set", setting)]
    began = time.time()
    subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
    whole = time.time() - began
    (record,) = read_records(files.resolve(folder))
    nodes = list(record.nodes.values())
    start = min(node.began for node in nodes if node.began) - began
    parts = {"start-up": start, **{node.name: node.seconds or 0.0 for node in nodes}}
    parts["between and after"] = whole - sum(parts.values())
    print(f"{'the default run':<20} {whole:7.1f} s")
    for name, seconds in parts.items():
        print(f"  {name:<18} {seconds:7.1f} s")
    epochs = sum(epoch["seconds"] for epoch in record.nodes["train"].history)
    print(f"  (of train, epochs  {epochs:7.1f} s)")
    return record


class Sides:
    """What is compared: functions that train one epoch.

    Args:
        config: of the run.
        record: of the run, whose tokens are read.
        folder: for checkpoints and status.
    """

    def __init__(self, config: PipelineConfig, record: RunRecord, folder: Path) -> None:
        reference = record.nodes["tokenize"].reference
        assert reference is not None
        self._config = config
        self._tokens: Tokens = Tokens.load(reference)
        root = files.resolve(folder)
        self._work = Work(root, "train", "key", root / "status")
        checkpoints = Checkpoints(root, root / "checkpoints", "a")
        splits = self._split("train"), self._split("validation")
        self._trainer = Trainer(self._model(), config.train, *splits, config.seed, checkpoints)
        self._trainer._begin()
        boundaries, buffer = self._trainer.boundaries, config.train.shuffle_buffer
        self._batches = splits[0].batches(boundaries, config.seed, buffer).cache().prefetch(tf.data.AUTOTUNE)
        self._validation = splits[1].batches(boundaries).cache()
        self.steps = self._trainer.steps
        self.epochs: dict[str, Callable[[], None]] = {
            STAGE: self._stage,
            PLAIN: self._plain(deterministic=True),
            DEFAULTS: self._plain(deterministic=False),
        }

    def _split(self, split: Split) -> TokenData:
        train = self._config.train
        return TokenData(self._tokens, split, self._config.task, train.batch_size, train.length_buckets)

    def _model(self) -> keras.Model:
        return new_model(self._config.model, self._config.task, self._tokens, self._config.seed)

    def _stage(self) -> None:
        with self._work.attempt("fit"), Heartbeat(self._work.root / "heartbeat"):
            self._trainer._run_epoch(None)

    def _plain(self, deterministic: bool) -> Callable[[], None]:
        model, train = self._model(), self._config.train
        model.compile(
            keras.optimizers.Adam(train.optimizer.learning_rate, global_clipnorm=train.global_clipnorm),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=False,  # it would compile again for every padded length
        )

        def epoch() -> None:
            if not deterministic:
                tensorflow_config.disable_op_determinism()
            model.fit(self._batches, verbose=0, shuffle=False)
            model.evaluate(self._validation, verbose=0)
            tensorflow_config.enable_op_determinism()

        return epoch


class Taken(NamedTuple):
    """What an epoch took.

    Args:
        seconds: by the clock.
        cores: seconds of all cores together, which others at work on the machine change less.
    """

    seconds: float
    cores: float


def timed(epoch: Callable[[], None]) -> Taken:
    """Times an epoch."""
    began, computing = time.monotonic(), time.process_time()
    epoch()
    return Taken(time.monotonic() - began, time.process_time() - computing)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="epochs of each side")
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        record = default_run(Path(folder) / "runs")
        config = load_config(REPOSITORY / "pipeline.yaml", ["train.epochs=1000"])
        with training_scope(config.seed):
            sides = Sides(config, record, Path(folder) / "training")
            taken: dict[str, list[Taken]] = {name: [] for name in sides.epochs}
            for turn in range(turns + 1):
                # A machine may become slower from turn to turn: they take turns at being first.
                for name in list(sides.epochs)[:: (-1) ** turn]:
                    took = timed(sides.epochs[name])
                    if turn:  # the first one compiles
                        taken[name].append(took)
    for name, each in taken.items():
        seconds, cores = (statistics.median(values) for values in zip(*each, strict=True))
        print(
            f"{name:<20} {seconds:7.2f} s an epoch, {1000 * seconds / sides.steps:6.1f} ms a step, "
            f"{cores:7.2f} s of cores  ({' '.join(f'{took.seconds:.1f}' for took in each)})"
        )
    slowest = 0.0
    for name in (PLAIN, DEFAULTS):
        ratios = [
            [ours / theirs for ours, theirs in zip(*pair, strict=True)]
            for pair in zip(taken[STAGE], taken[name], strict=True)
        ]
        seconds, cores = (statistics.median(values) for values in zip(*ratios, strict=True))
        print(f"{STAGE} / {name:<20} {seconds:.3f} (at most {LIMIT}), {cores:.3f} of cores")
        slowest = max(slowest, seconds)
    sys.exit(slowest > LIMIT)


if __name__ == "__main__":
    main()
