"""Two trials of one run: they share what does not depend on them, and each is as if it were alone."""

import io

import apache_beam as beam
import pytest
import tiny
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from made_nodes import carry_out
from rich.console import Console

from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.node import Trial
from pipeline.plan.planning import make_plan
from pipeline.run.execute import Run
from pipeline.run.folder import RunFolder
from pipeline.run.job import build
from pipeline.run.observe import read_records
from pipeline.store.store import Store

UNTRACKED = "tracking.enabled=false"
OTHER = ("model.encoder={type: lstm, units: 6}", "seed=8", "train.epochs=3")
NAMES = ["ingest", "tokenize", "train", "train 2", "evaluate", "evaluate 2", "export", "export 2"]


class Runs:
    """Makes and carries out plans of several trials.

    Args:
        folder: of the data and the configuration, which is written there.
    """

    def __init__(self, folder):
        self.path = tiny.make(folder)
        self.places = Places.of(self.config())
        self.store = Store(self.places.root)

    def config(self, *overrides):
        return load_config(self.path, (UNTRACKED, *overrides))

    def plan(self, *trials, **arguments):
        """The plan of one trial for each tuple of overrides."""
        made = [Trial(str(number), self.config(*each)) for number, each in enumerate(trials, start=1)]
        return make_plan(self.config(), self.places, self.store, trials=made, **arguments)

    def run(self, plan):
        """Carries a plan out; returns what was said, and the record."""
        console = Console(file=io.StringIO(), width=200)
        run = Run(self.config(), console, "rnnpipe run", self.places, plan, self.store)
        assert run.execute() == 0, console.file.getvalue()
        return console.file.getvalue(), self.records()[-1]

    def records(self):
        return read_records(self.places.root)


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


# The plan.


def test_trials_share_the_nodes_that_they_agree_on(runs):
    plan = runs.plan((), OTHER)
    assert [node.name for node in plan] == NAMES
    assert [trial.id for trial in plan.trials] == ["1", "2"]
    shared = {node.name: plan.trials_of(node) for node in plan}
    assert shared == {
        name: ["1", "2"] if name in ("ingest", "tokenize") else ["2" if name.endswith("2") else "1"]
        for name in NAMES
    }
    assert plan.node("tokenize", "2") is plan["tokenize"]
    assert plan.node("train", "2") is plan["train 2"]
    assert plan.node("train", "3") is None
    read = {name: each.node for name, each in plan["evaluate 2"].reads.items()}
    assert read == {"ingest": "ingest", "tokenize": "tokenize", "train": "train 2"}
    read = {name: each.node for name, each in plan["export 2"].reads.items()}
    assert read == {"tokenize": "tokenize", "train": "train 2", "evaluate": "evaluate 2"}


def test_a_trial_has_the_keys_of_a_run_of_its_own(runs):
    both = runs.plan((), OTHER)
    for trial, overrides in (("1", ()), ("2", OTHER)):
        for node in runs.plan(overrides):
            found = both.node(node.stage.name, trial)
            assert (found.key, found.part_keys) == (node.key, node.part_keys)
            assert (found.lineage, found.ingredients) == (node.lineage, node.ingredients)


def test_without_trials_the_configuration_is_the_only_one(runs):
    plain = make_plan(runs.config(), runs.places, runs.store)
    assert [node.name for node in plain] == ["ingest", "tokenize", "train", "evaluate", "export"]
    assert [node.key for node in plain] == [node.key for node in runs.plan(())]


def test_a_node_has_the_name_of_the_first_trial_that_needs_it(runs):
    plan = runs.plan((), OTHER, OTHER, ("tokenize={text: {type: words}}",), until="train")
    assert [node.name for node in plan] == ["ingest", "tokenize", "tokenize 4", "train", "train 2", "train 4"]
    assert plan.trials_of(plan["train 2"]) == ["2", "3"]
    assert plan.trials_of(plan["tokenize"]) == ["1", "2", "3"]
    assert [read.node for read in plan["train 4"].reads.values()] == ["tokenize 4"]
    same = runs.plan((), ("evaluate.bless=always",))
    assert [node.name for node in same] == ["ingest", "tokenize", "train", "evaluate", "export"]
    assert all(same.trials_of(node) == ["1", "2"] for node in same)


def test_what_one_trial_has_is_reused_and_the_other_is_told_why_it_runs(runs):
    carry_out(runs.store, runs.plan(()))
    plan = runs.plan((), OTHER)
    assert {node.name for node in plan if node.runs} == {"train 2", "evaluate 2", "export 2"}
    assert plan["evaluate 2"].reason == "train differs (model)"
    carry_out(runs.store, plan)
    assert not any(node.in_job for node in runs.plan((), OTHER))
    forced = runs.plan((), OTHER, force=["train"])
    assert [node.reason for node in forced.nodes[2:6]] == [
        *["forced"] * 2,
        "forced, with train",
        "forced, with train 2",
    ]


def boxes(runs, plan):
    """The steps of the job, as an engine shows them."""
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    build(pipeline, runs.places, plan, RunFolder.new(runs.places.root))
    (root,) = pipeline.transforms_stack
    return [part.full_label for part in root.parts]


def test_training_is_one_step_of_the_job_whose_elements_are_the_trials(runs):
    alone = ["evaluate", "evaluate 2", "export", "export 2"]
    assert boxes(runs, runs.plan((), OTHER)) == ["ingest", "tokenize", "train", *alone]
    carry_out(runs.store, runs.plan(()))
    steps = boxes(runs, runs.plan((), OTHER))
    reused = [f"{name} (reused)" for name in ("ingest", "tokenize", "train", "evaluate", "export")]
    assert sorted(steps) == sorted([*reused, "train", "evaluate 2", "export 2"])


# The run.


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two trials in one run; what was said, and the record."""
    runs = Runs(tmp_path_factory.mktemp("both"))
    return runs, *runs.run(runs.plan((), OTHER))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The artifacts of each trial in a run of its own, by trial and stage."""
    found = {}
    for trial, overrides in (("1", ()), ("2", OTHER)):
        folder = tmp_path_factory.mktemp(f"alone{trial}")
        code, said = tiny.run(tiny.make(folder), UNTRACKED, *overrides, until="evaluate")
        assert code == 0, said
        runs = Runs(folder)
        found[trial] = {node.stage.name: node.artifact for node in runs.plan(overrides, until="evaluate")}
    return found


@pytest.mark.parametrize("trial", ["1", "2"])
def test_each_trial_comes_out_as_in_a_run_of_its_own(both, alone, trial):
    _, _, record = both
    for stage, expected in alone[trial].items():
        node = record.node(stage, trial)
        assert (node.state, node.key) == ("finished", expected.manifest.key)
        artifact = type(expected).load(node.reference)
        drawn = ("history", "checkpoint")  # they hold times
        assert _without(artifact.manifest.digests, drawn) == _without(expected.manifest.digests, drawn)
        assert artifact.summary == expected.summary
    trained = type(alone[trial]["train"]).load(record.node("train", trial).reference)
    assert trained.read("model.keras") == alone[trial]["train"].read("model.keras")
    assert record.node("export", trial).summary["replayed"] == 40


def _without(values, names):
    return {name: value for name, value in values.items() if name not in names}


def test_the_record_knows_whose_each_node_is(both):
    _, _, record = both
    assert list(record.nodes) == NAMES
    assert [node.name for node in record.of("1")] == [name for name in NAMES if not name.endswith("2")]
    assert [node.name for node in record.of("2")] == ["ingest", "tokenize", *NAMES[3::2]]
    assert {node.state for node in record.nodes.values()} == {"finished"}
    first, second = (record.nodes[name] for name in ("train", "train 2"))
    assert (first.trials, second.trials) == (("1",), ("2",))
    assert (first.epochs, first.planned_epochs) == (2, 2)
    assert (second.epochs, second.planned_epochs) == (3, 3)
    assert first.history != second.history[:2]
    # What is told of the run is told of its first trial.
    assert record.history == list(first.history)
    assert record.metrics == record.nodes["evaluate"].summary["metrics"]
    assert record.nodes["evaluate"].reference.inputs != record.nodes["evaluate 2"].reference.inputs


def test_the_console_names_them(both):
    _, said, record = both
    blocks = _by_speaker(said)
    # Neither of two evaluations waits for the other.
    assert sorted(blocks) == sorted(NAMES)
    order = list(dict.fromkeys(name.partition(" ")[0] for name in NAMES))
    assert list(dict.fromkeys(name.partition(" ")[0] for name in blocks)) == order
    for name, epochs in (("train", 2), ("train 2", 3)):
        lines = "\n".join(blocks[name])
        assert [f"epoch {epoch}/{epochs}  loss" in lines for epoch in range(1, epochs + 1)] == [True] * epochs
        assert f"{record.nodes[name].summary['parameters']:,} parameters" in lines
    for name in ("evaluate", "evaluate 2"):
        accuracy = record.nodes[name].summary["metrics"]["accuracy"]
        assert f"accuracy {accuracy:.4f}" in "\n".join(blocks[name])


def _by_speaker(said):
    """The lines of each node; those that begin with spaces are of the node before."""
    blocks, speaker = {}, ""
    for line in said.splitlines():
        named = next((name for name in sorted(NAMES, key=len, reverse=True) if line.startswith(name)), "")
        speaker = named or (speaker if line.startswith(" ") else "")
        if speaker:
            blocks.setdefault(speaker, []).append(line)
    return blocks


def test_afterwards_everything_is_reused_by_both_and_by_each(both):
    runs, _, _ = both
    assert not any(node.in_job for node in runs.plan((), OTHER))
    assert not any(node.in_job for node in runs.plan(OTHER))


def test_a_trial_joins_one_that_is_there(both):
    """The step of the training then has one element, beside the artifact that is reused."""
    runs, _, record = both
    third = ("seed=9",)
    said, later = runs.run(runs.plan((), third, until="train"))
    assert later.nodes["train"].state == "reused"
    assert later.nodes["train"].reference == record.nodes["train"].reference
    assert later.nodes["train 2"].state == "finished"
    assert "train 2   seed: 7 -> 9" in said
