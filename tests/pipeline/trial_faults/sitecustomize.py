"""What Python runs first in a trial's process, if this folder is on its path: trainings are noted, and fail.

TRIALS names a folder, where a training adds the name of its node to `begun`, and later to `ended`. A file
`fault` there holds a number and a word: the training of that number does what the word says.
"""

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

MADE = "MADE" in os.environ


def note(folder, name, node):
    """Adds a line with the time; returns how many there are."""
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(f"{time.time()} {node}\n")
    return len((folder / name).read_text(encoding="utf-8").splitlines())


def meet_fault(folder, number):
    """Does what is said, once."""
    fault, met = folder / "fault", folder / "met"
    try:
        when, what = fault.read_text(encoding="utf-8").split()
        if number < int(when):
            return
        fault.rename(folder / "claimed")
    except FileNotFoundError:  # of another training, or of none
        return
    (folder / "claimed").write_text(str(os.getpid()), encoding="utf-8")
    (folder / "claimed").rename(met)
    time.sleep(0.5)  # what was trained just before is committed
    if what == "kill-launcher":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)  # the end of the launcher is the end of this process
    elif what == "kill-child":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "kill-after-epoch":
        reports._listeners.append(kill_after_epoch)
    elif what == "wait":
        time.sleep(600)
    elif what == "fill-disk":
        disks.written_aside = full


def kill_after_epoch(event):
    if isinstance(event, reports.EpochFinished):
        os.kill(os.getpid(), signal.SIGKILL)


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def made(trial, inputs):
    """As a training, but quick: what it gives follows from its settings alone."""
    from components import files
    from components.artifacts.trained_model import CHECKPOINT, CURVES, HISTORY, MODEL
    from components.work import Made

    time.sleep(0.2)  # longer than a commit
    loss = round(1 / (1 + trial.config.optimizer.learning_rate), 6)
    content = json.dumps([loss, trial.seed]).encode()
    with trial.work.attempt("fit") as attempt:
        files.write(trial.work.root / "checkpoints" / attempt.id, content)  # which a full disk refuses
        names = (MODEL, HISTORY, CURVES, CHECKPOINT)
        return Made(tuple(attempt.put(name, content) for name in names), {"val_loss": loss, "epochs": 1}, 0.1)


def install(folder):
    if MADE:
        # TensorFlow takes seconds to load, and is not needed.
        sys.modules["keras"] = SimpleNamespace(utils=SimpleNamespace(clear_session=lambda: None))
    else:
        from components.train import curves

        # Pictures take a third of the time of a training that is so small.
        curves.training_curves = lambda epochs, path, **settings: path.write_bytes(b"")
    from components.train import transform

    train = transform.train_here

    def train_here(trial, inputs, *more):
        meet_fault(folder, note(folder, "begun", trial.work.node))
        result = made(trial, inputs) if MADE else train(trial, inputs, *more)
        note(folder, "ended", trial.work.node)
        return result

    transform.train_here = train_here


if "TRIALS" in os.environ and "components.train.child" in sys.orig_argv:
    from components import disks, reports

    install(Path(os.environ["TRIALS"]))
