"""Models that are made up: exports and figures, without anything being trained; and pushed ones."""

import json
import uuid
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from upath import UPath

from components import files
from components.artifacts.artifact import Manifest, Reference, inputs_hash, part_digests
from components.artifacts.evaluation import Evaluation, write_figures
from components.artifacts.exported_model import (
    ExportedModel,
    ModelId,
    add_model,
    model_path,
    validation_path,
)
from components.evaluate.answers import Answers
from components.evaluate.measure import Measure
from components.evaluate.metrics import metric_names
from components.work import Work
from pipeline.serving.claims import Claim, described
from pipeline.serving.served import Served
from pipeline.serving.versions import Content

FILES = {
    "saved_model.pb": b"graph" * 1000,
    "fingerprint.pb": b"",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 9000,
    "assets/words.txt": "ä\n🙂\n".encode(),
    "assets.extra/tf_serving_warmup_requests": b"warm",
}


def model_id(name):
    return ModelId(f"{name}weights", "decoding")


def make_export(root, name, contents=None, read=None) -> ExportedModel:
    """Makes an export artifact.

    Args:
        root: a folder.
        name: of the weights; by default the files' content depends on it.
        contents: of the SavedModel's files.
        read: digests of what it was made from.
    """
    work = Work(files.resolve(root), "export", uuid.uuid4().hex)
    with work.attempt() as attempt:
        for file, content in (contents or {**FILES, "saved_model.pb": f"graph {name}".encode()}).items():
            path = model_path(attempt) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        validation_path(attempt).write_text("{}")
        return _commit(
            ExportedModel, work, add_model(attempt), {"model": model_id(name)._asdict()}, read or {}
        )


def make_evaluation(root, right, read=None) -> Evaluation:
    """Makes an evaluate artifact: so many of 400 answers of a classifier were right."""
    work = Work(files.resolve(root), "evaluate", uuid.uuid4().hex)
    with work.attempt() as attempt:
        report = report_of(right)
        predictions = attempt.put("predictions.jsonl", json.dumps({"input": str(right)}).encode())
        made = [predictions, *write_figures(attempt, "test", report)]
        return _commit(Evaluation, work, made, {"metrics": report["metrics"]}, read or {})


def report_of(right, examples=400):
    words = ["good" if place < right else "bad" for place in range(examples)]
    texts = [f"text {number}" for number in range(examples)]
    scores = np.linspace(0.5, 1, examples).astype(np.float32)
    combiner = Measure(metric_names("classification"), 500, confusion=True)
    answers = Answers.of(texts, ["good"] * examples, words, scores=scores)
    report = combiner.extract_output(combiner.add_input(combiner.create_accumulator(), answers))
    return {**report, "slices": {}}


def _commit(kind, work, made, summary, read):
    manifest = Manifest(
        stage=kind.stage,
        key=work.key,
        inputs=inputs_hash(read),
        number=1,
        attempt=uuid.uuid4().hex,
        run="",
        made=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        seconds=1.0,
        summary=summary,
        ingredients={},
        read=read,
        digests=part_digests(kind, made),
        files={each.name: each for each in made},
    )
    reference = Reference(work.root, kind.stage, work.key, manifest.inputs, 1, manifest.digests)
    files.create(reference.manifest, manifest.as_bytes())
    return kind.load(reference)


def content_of(model, name) -> Content:
    """What the files of a SavedModel are, and whose weights they hold."""
    found = Content.of_files(files.resolve(model))
    return Content(model_id(name), found.digest, found.files)


def claim_of(exported: ExportedModel, **fields) -> Claim:
    """A claim for an export artifact, as a push makes it."""
    return Claim(0, Content.of_export(exported), artifact=described(exported.reference), **fields)


def push(model: Path, base, name, keep=None, **fields) -> int:
    """Pushes a directory as the next version, whatever is there; returns its number."""
    place = files.resolve(base)
    served = Served(place.parent, place.name)
    while True:
        seen = served.complete_unfinished()
        gone = tuple(each for each in served.given_up(seen) if each != model_id(name))
        claim = served.claim(seen, Claim(0, content_of(model, name), **{"given_up": gone, **fields}))
        if claim and served.complete(claim, Path(model)):
            break
    if keep:
        served.prune(keep)
    return claim.number


def contents(version: UPath) -> dict[str, bytes]:
    """The files of a version, without what rnnpipe noted."""
    found = {
        entry.path.relative_to(version).as_posix(): files.read(entry.path) for entry in files.entries(version)
    }
    found.pop("assets.extra/rnnpipe.json", None)
    return found
