"""Runs a stage's transform by itself, as the job does, and makes its artifact."""

import uuid
from datetime import datetime, timezone

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components import files
from components.artifacts.artifact import Artifact, Manifest, Reference, part_digests
from components.train.transform import Train, Trial
from components.work import Made, Work


def run_stage(make, kind, inputs, root, key=None, status=None, node="") -> Artifact:
    """Runs a transform on one element and returns the artifact of what it made.

    Args:
        make: takes a Work, returns the transform.
        kind: the artifact's class, such as Tokens.
        inputs: the references of what it reads, by stage.
        root: a folder.
        key: of the artifact; by default a new one.
        status: where attempts report.
        node: the name of the node; the stage's by default.
    """
    work = Work(files.resolve(root), kind.stage, key or uuid.uuid4().hex, status, node=node)
    found = run_transform(make(work), [inputs])
    assert len(found) == 1, found
    return commit(kind, work, found[0])


def run_on_nothing(make, kind, root) -> list[Made]:
    """Runs a transform on an empty collection, as the job does where the artifact is there already."""
    return run_transform(make(Work(files.resolve(root), kind.stage, uuid.uuid4().hex)), [])


def commit(kind, work, made, inputs="0" * 12, number=1) -> Artifact:
    """Creates the manifest of what a transform made."""
    manifest = Manifest(
        stage=kind.stage,
        key=work.key,
        inputs=inputs,
        number=number,
        attempt=uuid.uuid4().hex,
        run="",
        made=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        seconds=1.0,
        summary=made.summary,
        ingredients={},
        read={},
        digests=part_digests(kind, made.files),
        files={file.name: file for file in made.files},
    )
    reference = Reference(work.root, kind.stage, work.key, inputs, number, manifest.digests)
    files.create(reference.manifest, manifest.as_bytes())
    return kind.load(reference)


class OneTrial(beam.PTransform):
    """The train stage with one trial: from what it reads to what it makes."""

    def __init__(self, *trial):
        super().__init__()
        self._train = Train({"train": Trial(*trial)})

    def expand(self, inputs):
        named = inputs | "name" >> beam.Map(lambda each: ("train", each))
        return named | "train" >> self._train | "made" >> beam.Values()


_RESULTS = {}


def run_transform(transform, elements) -> list[Made]:
    """Runs a transform on some elements, and returns what it puts out."""
    token = uuid.uuid4().hex
    _RESULTS[token] = []
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        made = pipeline | "inputs" >> beam.Create(elements) | "stage" >> transform
        made | "keep" >> beam.Map(lambda each: _keep(token, each))
    return _RESULTS.pop(token)


def _keep(token, made):
    _RESULTS[token].append(made)
