"""The store's protocol as a state machine for hypothesis: runs, attempts, damage, cleaning, in any order.

Two stages with made-up files take the part of the five; plans, steps and commits are the real ones. A file is
as old as the machine says.
"""

import hashlib
import json
import time
import uuid
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from components import files
from components.artifacts.artifact import Artifact, Manifest, inputs_hash
from components.errors import UserError
from components.work import Made, Work
from pipeline import stages
from pipeline.plan import planner, planning
from pipeline.plan.node import Plan
from pipeline.run.folder import RunFolder
from pipeline.run.step import Begun, Commit, begin, to_do
from pipeline.stages.stage import Stage
from pipeline.store.clean import DAY, SILENT, clean
from pipeline.store.store import Store


class Up(Artifact):
    stage = "up"
    parts: ClassVar = {"train": ("train/",), "report": ("report/",)}


class Down(Artifact):
    stage = "down"
    parts: ClassVar = {"model": ("model/",)}


class MadeStage(Stage):
    module = "components.errors"
    libraries = ()

    def __init__(self, kind, reads):
        self.kind = kind
        self._reads = reads

    def reads(self, config):
        return self._reads

    def settings(self, config):
        return {"task": "none", "version": getattr(config, self.name)}

    def work(self, node):
        raise NotImplementedError

    def describe(self, summary):
        return ""


STAGES = (MadeStage(Up, {}), MadeStage(Down, {"up": ("train",)}))
KINDS = {"up": Up, "down": Down}


@dataclass(frozen=True)
class Versions:
    """A configuration: which version of every stage."""

    up: int
    down: int
    sweep: None = None


VERSIONS = st.builds(Versions, st.integers(1, 2), st.integers(1, 2), st.none())


@dataclass
class Run:
    """A launcher at work, and what its nodes were handed."""

    folder: RunFolder
    plans: Plan
    references: dict = field(default_factory=dict)
    heard: float = 0.0
    ended: bool = False

    def work(self, name):
        plan = self.plans[name]
        return Work(self.folder.root, name, plan.key, number=plan.number)


@dataclass
class Pending:
    """What an attempt has written, and not yet committed."""

    run: Run
    name: str
    begun: Begun
    made: Made


class Protocol(RuleBasedStateMachine):
    """Subclasses say where the root is."""

    runs = Bundle("runs")
    pendings = Bundle("pendings")

    def new_root(self):
        raise NotImplementedError

    def __init__(self):
        super().__init__()
        self.root = self.new_root()
        self.store = Store(self.root)
        self.now = time.time()
        self.born = {}
        self.content = {}  # of every file that was ever seen
        self.truths = {}  # of every manifest that is there: its bytes
        self.harmed = set()  # places of files that were deleted or changed
        self.all_runs = []
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(stages, "STAGES", STAGES)
        entries = files.entries
        self.patch.setattr(
            files,
            "entries",
            lambda folder: [
                entry._replace(modified=self.born.setdefault(str(entry.path), self.now))
                for entry in entries(folder)
            ],
        )

    def teardown(self):
        self.patch.undo()

    # What happens.

    @rule(target=runs, config=VERSIONS, force=st.sampled_from([(), (), ("up",), ("down",)]))
    def launch(self, config, force):
        plans = self.plan(config, force)
        run = Run(RunFolder(self.root, uuid.uuid4().hex), plans, heard=self.now)
        run.folder.start("name", {}, {}, plans)
        for plan in plans:
            if not plan.in_job:
                run.references[plan.name] = plan.artifact.reference
        self.all_runs.append(run)
        return run

    @rule(target=pendings, run=runs, salt=st.integers(0, 2))
    def attempt(self, run, salt):
        """The next node of a run: looks what is there, otherwise writes files, in two attempts."""
        name = next((plan.name for plan in run.plans if plan.name not in run.references), None)
        if name is None or run.ended:
            return multiple()
        self.hear(run)
        work = run.work(name)
        try:
            begun = begin(run.plans[name], work, run.references)
        except UserError:
            assert self.place(work, run) in self.damaged()
            return multiple()
        if not to_do((name, begun)):
            self.hand_on(run, name, begun.reused)
            return multiple()
        read = ""
        for reference in begun.upstream.values():
            try:
                read = KINDS[reference.stage].load(reference).read("train/0").decode()
            except UserError:
                assert str(reference.manifest) in self.damaged() | self.harmed
                return multiple()
        first, second = {"up": ("train/0", "report/0"), "down": ("model/0", "model/1")}[name]
        with work.attempt() as bundle:
            one = bundle.put(first, f"{name} {work.key} {salt} {read}".encode())
            bundle.put("part/0", b"what no manifest lists")
        with work.attempt() as last:
            other = last.put(second, uuid.uuid4().hex.encode())
        return Pending(run, name, begun, Made((one, other), {}))

    @rule(
        pending=pendings,
        fault=st.sampled_from([None, None, "before", "after"]),
        call=st.integers(1, 3),
    )
    def commit(self, pending, fault, call):
        """Also what was committed already, and what comes much too late."""
        run, plan = pending.run, pending.run.plans[pending.name]
        work = run.work(pending.name)
        with self.failing(fault, call) as failed:
            try:
                step = Commit({plan.name: plan}, {plan.name: work}, [], run.folder.id)
                upstream = {read.node: pending.begun.upstream[name] for name, read in plan.reads.items()}
                ((name, reference),) = step.process((plan.name, pending.made), upstream, {})
            except OSError:
                # A manifest that is there was created, whether the answer was lost or not.
                assert failed
                assert fault == "before" or not str(failed[0]).endswith(".json")
                return
            except UserError:
                assert self.place(work, run, pending.begun.inputs) in self.unreadable()
                return
        # A manifest that was cleaned may be created again, by a straggler.
        self.truths.setdefault(str(reference.manifest), files.read(reference.manifest))
        if not run.ended:
            self.hear(run)
            self.hand_on(run, name, reference)

    @rule(target=pendings, run=runs, salt=st.integers(0, 2))
    def work(self, run, salt):
        """All that is left to do, without trouble; what was written may be committed again."""
        made = []
        for _ in run.plans:
            if isinstance(pending := self.attempt(run, salt), Pending):
                made.append(pending)
                self.commit(pending, None, 1)
        self.end(run)
        return multiple(*made)

    @rule(run=runs)
    def end(self, run):
        if not run.ended and all(plan.name in run.references for plan in run.plans):
            run.folder.end("finished", "", {}, "")
            run.ended = True

    @rule(days=st.sampled_from([0.5, 1.1, 8.0]))
    def time_passes(self, days):
        self.see()
        self.now += days * DAY

    @precondition(lambda self: self.content)
    @rule(draw=st.data(), how=st.sampled_from(["delete", "shorten", "change"]))
    def harm(self, draw, how):
        """A file of an artifact, or its manifest, is deleted or changed by somebody else."""
        here = list(self.content)
        path = here[draw.draw(st.integers(0, len(here) - 1))]
        place = files.resolve(path)
        if how == "delete":
            files.delete([place])
            self.forget(path)
        else:
            data = files.read(place)
            changed = data[:-1] if how == "shorten" else b"#" + data[1:]
            files.write(place, changed)
            self.content[path] = changed
            if path in self.truths:
                self.truths[path] = changed
        self.harmed.add(path)

    @rule(keep=st.sampled_from([None, None, 1, 2]))
    def clean(self, keep):
        self.see()
        before = {str(entry.path): entry for entry in self.artifacts()}
        manifests = self.manifests()
        used = {
            (plan.name, plan.key)
            for run in self.all_runs
            if not run.ended and self.now - run.heard <= SILENT
            for plan in run.plans
        }
        newest = self.newest_keys(keep)
        cleaned = clean(self.root, keep, self.now)
        after = {str(entry.path) for entry in self.artifacts()}
        gone = before.keys() - after
        assert after <= before.keys()
        assert cleaned.artifacts == len(gone & manifests.keys())
        assert cleaned.files == len(gone - manifests.keys())
        assert cleaned.size == sum(before[path].size for path in gone)
        stays = {path: manifest for path, manifest in manifests.items() if path in after}
        listed = {
            str(self.root / file.path)
            for manifest in stays.values()
            if manifest is not None
            for file in manifest.files.values()
        }
        unclear = {self.key_of(path) for path, manifest in stays.items() if manifest is None}
        old = {path for path in before if self.now - self.born[path] > DAY}
        free = {path for path in before if self.key_of(path) not in used}
        assert gone <= old & free
        assert not gone & listed
        superseded = self.superseded(manifests, old)
        beyond = {path for path in manifests if newest is not None and self.key_of(path) not in newest}
        assert gone & manifests.keys() == (superseded | beyond) & old & free
        attempts = defaultdict(set)
        for path in before.keys() - manifests.keys():
            if self.key_of(path) not in unclear:
                attempts[path.rpartition("/")[0].rpartition("/")[0]].add(path)
        dead = {path for attempt in attempts.values() if attempt <= old for path in attempt}
        assert gone - manifests.keys() == (dead - listed) & free
        for path in gone:
            self.forget(path)
        self.harmed |= gone

    @rule(config=VERSIONS)
    def look(self, config):
        self.plan(config)

    # What must hold.

    @invariant()
    def no_file_changes_and_none_is_lost(self):
        here = self.see()
        for path, data in self.content.items():
            assert path in here, f"{path} was lost"
            assert files.read(files.resolve(path)) == data, f"{path} was changed"

    @invariant()
    def references_say_what_manifests_say(self):
        for run in self.all_runs:
            for reference in run.references.values():
                path = str(reference.manifest)
                if path in self.harmed:
                    continue
                assert not run.ended or path in self.truths
                manifest = Manifest.of(files.read(reference.manifest))
                assert manifest.digests == reference.digests
                assert manifest.inputs == reference.inputs == inputs_hash(manifest.read)
            if "down" in run.references and str(run.references["down"].manifest) not in self.harmed:
                down = Manifest.of(files.read(run.references["down"].manifest))
                assert down.read == {"up train": run.references["up"].digests["train"]}

    # How it is found out.

    def plan(self, config, force=()):
        """Makes a plan, and checks it."""
        places = SimpleNamespace(sources=[])
        made = planning.make_plan(config, places, self.store, force=force)
        plans = {plan.name: plan for plan in made}
        damaged, manifests = self.damaged(noticed=True), self.manifests()
        for name, plan in plans.items():
            numbers = [
                int(path.rpartition("-")[2].removesuffix(".json"))
                for path in manifests
                if self.key_of(path) == (name, plan.key)
            ]
            highest = max(numbers, default=0)
            if plan.artifact is not None:
                manifest = plan.artifact.manifest
                assert plan.number == highest == manifest.number
                assert str(plan.artifact.reference.manifest) not in damaged
                assert name not in force
                if name == "down" and plans["up"].artifact is not None:
                    assert manifest.read == {"up train": plans["up"].artifact.manifest.digests["train"]}
                continue
            read = planner.known_digests(self.store, plan.reads, plans)
            place = "" if read is None else f"{inputs_hash(read)}-{highest}.json"
            harmed = [path for path in damaged if self.key_of(path) == (name, plan.key)]
            if name in force or plan.forced:
                assert plan.number == highest + 1
                assert plan.reason.startswith("forced")
            elif place and any(path.endswith(f"/{place}") for path in harmed):
                assert plan.number == highest + 1
                assert plan.reason.startswith("the artifact is damaged: ")
            else:
                assert plan.number == max(highest, 1), plan.reason
        return made

    def see(self):
        """Notes what is new; returns the places of all files of artifacts."""
        here = {str(entry.path) for entry in self.artifacts()}
        # The ids of attempts are drawn: without them, the same steps give the same order.
        for path in sorted(
            here - self.content.keys(), key=lambda path: (self.key_of(path), path.split("/")[-2:])
        ):
            self.content[path] = files.read(files.resolve(path))
        for path in self.manifests():
            self.truths.setdefault(path, self.content[path])
        files.entries(self.root / "runs")
        return here

    def artifacts(self):
        found = files.entries(self.root / "artifacts")
        return [entry for entry in found if "/digests/" not in str(entry.path)]

    def manifests(self):
        """All of them; None for one that cannot be read."""
        found = {}
        for entry in self.artifacts():
            if str(entry.path).endswith(".json"):
                try:
                    found[str(entry.path)] = Manifest.of(files.read(entry.path))
                except ValueError:
                    found[str(entry.path)] = None
        return found

    def unreadable(self):
        return {path for path, manifest in self.manifests().items() if manifest is None}

    def damaged(self, noticed=False):
        """The manifests that cannot be read, or list files that are not as they were made."""
        found = set()
        for path, manifest in self.manifests().items():
            if manifest is None or any(self.is_harmed(file, noticed) for file in manifest.files.values()):
                found.add(path)
        return found

    def is_harmed(self, reference, noticed):
        try:
            data = files.read(self.root / reference.path)
        except FileNotFoundError:
            return True
        if noticed and not files.is_local(self.root):  # the content is checked when it is opened
            return len(data) != reference.size
        return hashlib.sha256(data).hexdigest() != reference.sha256

    def newest_keys(self, keep):
        if keep is None:
            return None
        made = defaultdict(float)
        for path in self.manifests():
            key = self.key_of(path)
            made[key] = max(made[key], self.born[path])
        stages = defaultdict(list)
        for key in sorted(made, key=lambda key: (made[key], key), reverse=True):
            stages[key[0]].append(key)
        return {key for keys in stages.values() for key in keys[:keep]}

    def superseded(self, manifests, old):
        named = {path: path.removesuffix(".json").rpartition("-") for path in manifests}
        return {
            path
            for path, (inputs, _, number) in named.items()
            if any(
                other in old and base == inputs and int(above) > int(number)
                for other, (base, _, above) in named.items()
            )
        }

    def key_of(self, path):
        stage, key = path.removeprefix(f"{self.root / 'artifacts'}/").split("/")[:2]
        return stage, key

    def place(self, work, run, inputs=None):
        if inputs is None:
            read = {f"{name} {part}": digest for name, part, digest in self.reads(work, run)}
            inputs = inputs_hash(read)
        return str(self.root / "artifacts" / work.stage / work.key / f"{inputs}-{work.number}.json")

    def reads(self, work, run):
        for name, read in run.plans[work.stage].reads.items():
            for part in read.parts:
                yield name, part, run.references[name].digests[part]

    def hear(self, run):
        run.heard = self.now
        status = run.folder.status("up") / "status.json"
        files.write(status, json.dumps({}).encode())
        self.born[str(status)] = self.now

    def hand_on(self, run, name, reference):
        there = str(reference.manifest) not in self.harmed
        if name in run.references and there:
            assert reference == run.references[name]
            assert reference.digests == run.references[name].digests
        run.references[name] = reference

    def forget(self, path):
        for known in (self.content, self.truths, self.born):
            known.pop(path, None)

    @contextmanager
    def failing(self, fault, call):
        """Has an exclusive creation fail before or after it is done."""
        create, calls, failed = files.create, [], []

        def fail(path, data):
            calls.append(path)
            here = fault is not None and len(calls) == call
            if here and fault == "before":
                failed.append(path)
                raise OSError("the store is unreachable")
            create(path, data)
            if here:
                failed.append(path)
                raise OSError("the answer was lost")

        with self.patch.context() as patch:
            patch.setattr(files, "create", fail)
            yield failed
