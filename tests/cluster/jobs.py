"""Pipelines whose data, root and serving directory are in the bucket, run on the cluster or here."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import tiny
from known import HOLD_TIMES
from rich.console import Console

from components import files
from pipeline.config import load_config
from pipeline.run.observe import read_records
from pipeline.run.pipeline import run_pipeline
from pipeline.store.store import Store

REPOSITORY = Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Job:
    """A pipeline, and where its things are.

    Args:
        config: its file.
        data: the folder of its data, or the address.
        place: above root and serving directory; its last part names the experiment.
        uri: of MLflow.
        overrides: what else is set.
        name_of_root: its name there.
    """

    config: Path
    data: str
    place: str
    uri: str
    overrides: tuple[str, ...] = ()
    name_of_root: str = "runs"

    @property
    def settings(self):
        """The arguments of --set."""
        return (
            *(f"ingest.files.{split}={self.data}/{split}.tsv" for split in SPLITS),
            f"root={self.root}",
            f"export.directory={self.serving}",
            f"tracking.uri={self.uri}",
            f"tracking.experiment={self.place.rpartition('/')[2]}",
            *self.overrides,
        )

    @property
    def root(self):
        return f"{self.place}/{self.name_of_root}"

    @property
    def serving(self):
        return f"{self.place}/serving"

    def command(self):
        """The arguments of `rnnpipe run`."""
        return ["run", str(self.config), *(f"--set={setting}" for setting in self.settings)]

    def run(self, *more, **arguments):
        """Runs in this process; returns the exit code and what was printed."""
        console = Console(file=io.StringIO(), width=200)
        settings = (*self.settings, *more)
        code = run_pipeline(
            load_config(self.config, settings), console, str(self.config), settings, **arguments
        )
        told = console.file.getvalue()
        print(told)  # to be read where a test fails
        return code, told

    def start(self, *options):
        """Starts the command in a process of its own."""
        return tiny.start(*self.command(), *options)

    def records(self):
        """Those of its runs, the oldest first."""
        return read_records(files.resolve(self.root))

    def made(self):
        """The number of manifests by stage."""
        store = Store(files.resolve(self.root))
        places = {node.stage: node.key for record in self.records() for node in record.nodes.values()}
        return {stage: len(store.made(stage, key)) for stage, key in places.items()}

    def served(self):
        """The versions that are served."""
        (name,) = {record.name for record in self.records()}
        return files.names(files.resolve(self.serving) / name)

    def digests(self):
        """What must be the same bits wherever and however often it is made."""
        return {
            (node.stage, part): digest
            for record in self.records()
            for node in record.nodes.values()
            if node.reference is not None and node.stage != "export"  # which holds names that are drawn
            for part, digest in node.reference.digests.items()
            if part not in HOLD_TIMES
        }


def put_data(place, folder, rows):
    """Puts the first lines of a data set somewhere.

    Args:
        place: where to, a folder or an address.
        folder: with a table for every split.
        rows: how many of each, by split.
    """
    for split, count in zip(SPLITS, rows, strict=True):
        lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[: count + 1]
        data = "".join(f"{line}\n" for line in lines).encode()
        files.write(files.resolve(f"{place}/{split}.tsv"), data)


def on_cluster(engine, pool, **more):
    """What has a job run on the cluster.

    Args:
        engine: with its address.
        pool: of workers.
        more: other keys of `runner`.
    """
    options = {"job_endpoint": engine.endpoint, **pool.options}
    # JSON is YAML, and one line.
    return f"runner={json.dumps({'type': 'portable', 'options': options, **more})}"


def tiny_job(bucket, name, folder, uri, *overrides):
    """A job of some seconds.

    Args:
        bucket: its address.
        name: of the job's place there.
        folder: for its configuration.
        uri: of MLflow.
        overrides: what else is set.
    """
    place = f"{bucket}/{name}"
    config = tiny.make(folder)
    put_data(f"{place}/data", folder, (200, 40, 40))
    return Job(config, f"{place}/data", place, uri, (f"name={name}", *overrides))
