"""Carries out a plan with made-up files: artifacts of every stage, without anything being read or trained."""

import time
from datetime import datetime, timezone

from components.artifacts.artifact import Manifest, inputs_hash, part_digests
from components.work import Work


def carry_out(store, plans, content="content", run="run", summary=lambda plan: {}):
    """Commits an artifact for every node that runs, as a run would; returns the artifacts by node.

    Args:
        store: where to.
        plans: as `make_plan` made them, or some of them in order.
        content: of all files; a function from logical name to text, or one text for all.
        run: the id of the run.
        summary: what the summary of a node's artifact holds.
    """
    made = {}
    for plan in plans:
        read = {
            f"{name} {part}": made[read.node].manifest.digests[part]
            for name, read in plan.reads.items()
            for part in read.parts
        }
        found = plan.artifact or store.find(plan.stage.kind, plan.key, inputs_hash(read), plan.number)
        made[plan.name] = found or commit(store, plan, read, content, run, summary(plan))
    return made


def commit(store, plan, read, content="content", run="run", summary=None):
    """Commits an artifact with a file for each part of it."""
    work = Work(store.root, plan.stage.name, plan.key, lineage=plan.lineage, number=plan.number)
    with work.attempt() as attempt:
        made = []
        for starts in plan.stage.kind.parts.values():
            name = f"{starts[0]}made" if starts[0].endswith(("/", "-")) else starts[0]
            text = content if isinstance(content, str) else content(name)
            made.append(attempt.put(name, text.encode()))
    manifest = Manifest(
        stage=plan.stage.name,
        key=plan.key,
        inputs=inputs_hash(read),
        number=plan.number,
        attempt=attempt.id,
        run=run,
        made=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        seconds=1.0,
        summary={"made": time.time(), **(summary or {})},
        ingredients=plan.ingredients.as_json(),
        read=read,
        digests=part_digests(plan.stage.kind, made),
        files={each.name: each for each in made},
    )
    return store.commit(plan.stage.kind, manifest, plan.part_keys)
