"""Tries the real things, for somebody who has them: Google Cloud Dataflow, and TensorFlow Serving.

    make verify-outside                              FLAGS="--subnetwork=..." adds options of Dataflow
    python tests/outside/verify.py [FLAGS]

Exits with 0 if both were tried and are right, with 1 if something is wrong, with 2 if something is missing.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "pipeline")]

NEEDED = {
    "RNNPIPE_VERIFY_PROJECT": "the id of a project of Google Cloud",
    "RNNPIPE_VERIFY_REGION": "a region of Dataflow, such as europe-west1",
    "RNNPIPE_VERIFY_BUCKET": "the name of a bucket there",
}
CLOSE = 0.05  # weights are equal to the bit only on the same kind of CPU
WRONG, MISSING = 1, 2


class Outcome(NamedTuple):
    """What came of one try; the code is 0 if it is right."""

    code: int
    text: str


def main(flags: Sequence[str]) -> int:
    """Tries what can be tried; returns the exit code."""
    missing = {"Dataflow": missing_for_dataflow(), "TensorFlow Serving": missing_for_serving()}
    outcomes = {name: Outcome(MISSING, text) for name, text in missing.items() if text}
    if len(outcomes) < len(missing):
        outcomes |= tried(flags, [name for name, text in missing.items() if not text])
    print()
    for name, (code, text) in outcomes.items():
        print(f"{name}: {('passed', 'FAILED', 'NOT TRIED')[code]}: {text}")
    codes = {outcome.code for outcome in outcomes.values()}
    return WRONG if WRONG in codes else max(codes)


def missing_for_dataflow() -> str:
    """Says what Dataflow cannot be tried without; empty if it can be."""
    if unset := [f"{name} ({meaning})" for name, meaning in NEEDED.items() if not os.environ.get(name)]:
        return f"set {', '.join(unset)}; docs/dataflow.md says how to come by them"
    for module in ("google.cloud.dataflow", "gcsfs"):
        if not is_installed(module):
            return f"{module} is not installed: pip install 'rnnpipe[gcp,gcs]'"
    return ""


def missing_for_serving() -> str:
    """Says what TensorFlow Serving cannot be tried without; empty if it can be."""
    from components.export.tf_serving import BINARY, docker_problem, has_binary, has_image, image

    if has_binary():
        return ""
    if problem := docker_problem():
        return f"there is no {BINARY} on the path, and {problem}"
    return "" if has_image() else f"docker has no {image()}: docker pull {image()}"


def tried(flags: Sequence[str], names: Sequence[str]) -> dict[str, Outcome]:
    """Runs a tiny pipeline here, whose export asks a real server where there is one, and tries the rest."""
    with tempfile.TemporaryDirectory(prefix="rnnpipe-verify-") as folder:
        import tiny

        here = tiny.make(Path(folder) / "here")
        print("a tiny pipeline, on this machine:", flush=True)
        if code := run(here):
            return {"This machine": Outcome(WRONG, f"the run ended with exit code {code}")}
        tries = {
            "Dataflow": lambda: try_dataflow(here, Path(folder) / "there", flags),
            "TensorFlow Serving": lambda: look_at_serving(here),
        }
        return {name: tries[name]() for name in names}


def try_dataflow(here: Path, folder: Path, flags: Sequence[str]) -> Outcome:
    """Runs the same on Dataflow, left and attached to, and compares."""
    import tiny_elsewhere

    from components import files

    project, region, bucket = (os.environ[name] for name in NEEDED)
    place = f"gs://{bucket.removeprefix('gs://').rstrip('/')}/rnnpipe-verify-{uuid.uuid4().hex[:8]}"
    options = {
        "project": project,
        "region": region,
        "temp_location": f"{place}/temp",
        "max_num_workers": 2,
        "labels": ["rnnpipe-verify=yes"],
    }
    try:
        there = tiny_elsewhere.make(folder, place, {"type": "dataflow", "options": options})
    except Exception as error:  # stores have errors of their own
        return Outcome(WRONG, f"nothing can be written to {place}: {error}")
    behind = ["--", *flags] if flags else []
    for what, arguments in (("leaving the job", ["--detach", *behind]), ("attaching to it", behind)):
        print(f"\n{what}:", flush=True)
        if code := run(there, *arguments):
            return Outcome(WRONG, f"{what} ended with exit code {code}; all of it is kept in {place}")
    if different := differences(here, there):
        return Outcome(WRONG, f"{'; '.join(different)}; all of it is kept in {place}")
    files.delete([entry.path for entry in files.entries(files.resolve(place))])
    return Outcome(0, "left, attached to, and equal to the run on this machine")


def look_at_serving(here: Path) -> Outcome:
    """Reads what export has learned from TensorFlow Serving."""
    said = artifacts(here)["export"].validation()["tiers"]["server"]
    return Outcome(0 if said.startswith("passed") else MISSING, said)  # what fails has failed the run


def differences(here: Path, there: Path) -> list[str]:
    """Says what of two runs should be equal, and is not."""
    ours, theirs = artifacts(here), artifacts(there)
    found = [
        f"{stage} made other {part}"
        for stage in ("ingest", "tokenize")
        for part, digest in ours[stage].manifest.digests.items()
        if theirs[stage].manifest.digests[part] != digest
    ]
    metrics = theirs["evaluate"].report()["metrics"]
    for name, value in ours["evaluate"].report()["metrics"].items():
        if abs(value - (other := metrics[name])) > CLOSE:
            found.append(f"{name} is {value:.4f} here, {other:.4f} there")
    return found


def artifacts(config: Path) -> dict:
    """What a run has made, by the names of the stages."""
    from pipeline.config import load_config
    from pipeline.config.places import Places
    from pipeline.plan.planning import make_plan
    from pipeline.store.store import Store

    loaded = load_config(config)
    places = Places.of(loaded)
    return {node.name: node.artifact for node in make_plan(loaded, places, Store(places.root))}


def run(config: Path, *arguments: str) -> int:
    """Gives the command; returns its exit code."""
    command = [sys.executable, "-m", "pipeline", "run", str(config), *arguments]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def is_installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
