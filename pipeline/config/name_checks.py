"""Whether a model's name can stand beside what rnnpipe itself writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.config.problems import Problem

LONGEST_NAME = 200
"""Characters of a name; with what is added to it, it must be a file's name and a model's in MLflow."""
LONGEST_EXPERIMENT = 400
"""Characters of an experiment's name, for MLflow."""
SERVING_FILES = ("models.config", "batching.config", "monitoring.config", "docker-compose.yaml")
"""What lies beside the models."""
CLAIMS = ".rnnpipe"
"""What follows a model's name in that of the directory of its claims."""
_OF_ROOT = ("artifacts", "runs")


def check_name(name: str, root: str, directory: str) -> Iterator[Problem]:
    """Yields why a model cannot be called so.

    Args:
        name: of the model, well spelled.
        root: of the artifacts, as it is configured.
        directory: where models are pushed to, likewise.
    """
    if len(name) > LONGEST_NAME:
        yield Problem(("name",), f"received {len(name)} characters, expected at most {LONGEST_NAME}")
    elif name.lower() in SERVING_FILES:
        yield Problem(
            ("name",),
            f"received '{name}', the name of a file that is written beside the models; expected another",
        )
    elif name.lower().endswith(CLAIMS):
        yield Problem(
            ("name",),
            f"received '{name}', but what ends in {CLAIMS} is written beside the models; expected another",
        )
    else:
        base, own = _absolute(directory) / name, _absolute(root)
        if base == own or any(base == own / part or own / part in base.parents for part in _OF_ROOT):
            yield Problem(
                ("name",),
                f"received '{name}', but {directory}/{name}, where its versions would be, holds artifacts "
                "and runs (root); expected another name, root or export.directory",
            )


def check_experiment(experiment: str) -> Iterator[Problem]:
    """Yields why MLflow would not take an experiment's name, or that of its data sets."""
    if not experiment.strip() or len(experiment) > LONGEST_EXPERIMENT:
        message = (
            f"received {len(experiment)} characters, expected 1 to {LONGEST_EXPERIMENT}, not only spaces"
        )
        yield Problem(("tracking", "experiment"), message)


def _absolute(place: str) -> PurePosixPath:
    return PurePosixPath(place if "://" in place else os.path.abspath(os.path.expanduser(place)))
