"""The plan of a sweep: what trials share, rungs, the pick, and what is reused."""

import io

import pytest
import tiny
from made_nodes import carry_out
from rich.console import Console

from components import files as doors
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.config.sweep import Halving, SweepConfig
from pipeline.plan.planning import make_plan
from pipeline.plan.sweep import stops_of
from pipeline.run.sweep_table import duration, total, trials_table
from pipeline.store.store import Store
from pipeline.sweep.pace import Pace

SWEEP = "sweep={over: {model.encoder.units: [4, 5, 6, 8]}}"
HALVING = "sweep.halving={reduction_factor: 2}"
LOSSES = {4: 0.4, 5: 0.2, 6: 0.3, 8: 0.6}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("data"))


class Sweeps:
    """Plans, and carries plans out with made-up artifacts."""

    def __init__(self, path, root):
        self._path = path
        self._root = root
        self.store = Store(doors.resolve(root))

    def config(self, *overrides):
        given = ("tracking.enabled=false", "train.epochs=9", f"root={self._root}", *overrides)
        return load_config(self._path, given)

    def plan(self, *overrides, **arguments):
        config = self.config(*overrides)
        return make_plan(config, Places.of(config), self.store, **arguments)

    def carry_out(self, nodes, losses=LOSSES):
        def summary(node):
            loss = losses[node.config.model.encoder.units] + node.config.seed / 1000
            return {"val_loss": loss, "loss": 9.0} if node.stage.name == "train" else {}

        def content(name):
            return f"{name} {len(made)}"  # no two are equal

        made = {}
        for node in nodes:
            made |= carry_out(self.store, [*self._before(node), node], content, summary=summary)
        return made

    def _before(self, node):
        return [] if not node.reads else self.shared

    shared = ()


@pytest.fixture
def sweeps(data, tmp_path):
    return Sweeps(data, tmp_path / "runs")


def of_stage(plan, stage):
    return [node for node in plan if node.stage.name == stage]


def test_trials_share_what_comes_before_the_training(sweeps):
    plan = sweeps.plan(SWEEP)
    names = ["ingest", "tokenize", "train", "train 2", "train 3", "train 4", "evaluate", "export"]
    assert [node.name for node in plan] == names
    assert plan.trials_of(plan["tokenize"]) == ["1", "2", "3", "4"]
    assert plan.trials_of(plan["train 3"]) == ["3"]
    assert plan["train 3"].reason == "units 6"
    assert [rung.stop for rung in plan.rungs] == [0]
    assert plan.pick == ""


def test_what_is_swept_of_the_tokenizers_are_branches(sweeps):
    plan = sweeps.plan("sweep={over: {tokenize.text.type: [characters, words], model.encoder.units: [4, 5]}}")
    assert [node.name for node in of_stage(plan, "tokenize")] == ["tokenize", "tokenize 3"]
    read = {node.name: node.reads["tokenize"].node for node in of_stage(plan, "train")}
    assert read == {
        "train": "tokenize",
        "train 2": "tokenize",
        "train 3": "tokenize 3",
        "train 4": "tokenize 3",
    }


def test_every_choice_has_the_keys_of_a_run_of_its_own(sweeps):
    plan = sweeps.plan(SWEEP, HALVING)
    for trial in plan.trials:
        alone = sweeps.plan(f"model.encoder.units={trial.settings['model.encoder.units']}")
        assert plan.node("train", trial.id).key == alone["train"].key
        for stage in ("evaluate", "export"):
            choice = plan[stage].choices[trial.id]
            assert (choice.key, choice.part_keys) == (alone[stage].key, alone[stage].part_keys)
            assert choice.reads["train"].node == plan.node("train", trial.id).name


@pytest.mark.parametrize(
    ("factor", "least", "epochs", "expected"),
    [(3, 1, 9, [1, 3, 0]), (3, 1, 10, [1, 3, 9, 0]), (2, 3, 7, [3, 6, 0]), (4, 1, 3, [1, 0])],
)
def test_stops_are_a_factor_apart(factor, least, epochs, expected):
    over = {"model.dropout": [0.1]}
    halving = Halving(reduction_factor=factor, min_epochs=least)
    assert stops_of(SweepConfig(over=over, halving=halving), epochs) == expected
    assert stops_of(SweepConfig(over=over), epochs) == [0]


def test_a_stop_is_a_shorter_run_unless_a_schedule_spans_all_epochs(sweeps):
    plan = sweeps.plan(SWEEP, HALVING)
    assert [node.name for node in of_stage(plan, "train")][:5] == [
        *["train to epoch 1", "train 2 to epoch 1", "train 3 to epoch 1", "train 4 to epoch 1"],
        "train to epoch 2",
    ]
    short = sweeps.plan("model.encoder.units=5", "train.epochs=2")
    assert plan["train 2 to epoch 2"].key == short["train"].key
    assert {node.lineage for node in plan if node.trial == "2"} == {plan["train 2"].lineage}
    cosine = "train.learning_rate_schedule=cosine"
    spanned = sweeps.plan(SWEEP, HALVING, cosine)
    stopped = spanned["train 2 to epoch 2"]
    assert stopped.key != sweeps.plan("model.encoder.units=5", "train.epochs=2", cosine)["train"].key
    assert stopped.ingredients.settings["stop"] == "2"
    assert stopped.lineage == spanned["train 2"].lineage
    whole = sweeps.plan("model.encoder.units=5", cosine)["train"]
    assert (spanned["train 2"].key, spanned["train 2"].lineage) == (whole.key, whole.lineage)


def test_equal_draws_are_trained_once(sweeps):
    over = "sweep={over: {model.encoder.units: [4, 5]}, trials: 8}"
    plan = sweeps.plan(over, until="train")
    assert len(plan.trials) == 8
    assert len(of_stage(plan, "train")) == 2
    assert sum(len(plan.trials_of(node)) for node in of_stage(plan, "train")) == 8


def reused(plan):
    return [node.name for node in of_stage(plan, "train") if not node.runs]


def test_finished_trials_are_reused_and_the_pick_is_known_when_all_are(sweeps):
    plan = sweeps.plan(SWEEP)
    shared = [plan["ingest"], plan["tokenize"]]
    carry_out(sweeps.store, shared)
    sweeps.shared = shared
    sweeps.carry_out(of_stage(plan, "train")[:3])
    later = sweeps.plan(SWEEP)
    assert reused(later) == ["train", "train 2", "train 3"]
    assert later.pick == ""
    sweeps.carry_out(of_stage(later, "train")[3:])
    done = sweeps.plan(SWEEP)
    assert done.pick == "2"
    assert [node.name for node in done if node.in_job] == ["evaluate", "export"]
    assert not done["evaluate"].choices
    assert done.trials_of(done["evaluate"]) == ["2"]
    assert done["evaluate"].reads["train"].node == "train 2"
    assert done["evaluate"].key == plan["evaluate"].choices["2"].key


def test_more_trials_and_repeats_leave_only_the_new_ones_to_train(sweeps):
    plan = sweeps.plan(SWEEP)
    sweeps.shared = [plan["ingest"], plan["tokenize"]]
    sweeps.carry_out(of_stage(plan, "train"))
    more = sweeps.plan("sweep={over: {model.encoder.units: [4, 5, 6, 8, 7]}}")
    assert [node.name for node in of_stage(more, "train") if node.runs] == ["train 5"]
    repeated = sweeps.plan(SWEEP, "sweep.repeat=2")
    assert len(reused(repeated)) == 4
    assert [node.trial for node in of_stage(repeated, "train") if node.runs] == ["1.2", "2.2", "3.2", "4.2"]
    assert repeated["train 2.2"].reason == "units 5, seed 8"


def test_rungs_that_are_known_leave_out_who_does_not_go_on(sweeps):
    plan = sweeps.plan(SWEEP, HALVING)
    sweeps.shared = [plan["ingest"], plan["tokenize"]]
    first = [plan[name] for name in plan.rungs[0].nodes.values()]
    sweeps.carry_out(first[:3])
    assert list(sweeps.plan(SWEEP, HALVING).rungs[1].nodes) == ["1", "2", "3", "4"]
    assert not sweeps.plan(SWEEP, HALVING)["train 4 to epoch 2"].settled
    sweeps.carry_out(first[3:])
    known = sweeps.plan(SWEEP, HALVING)
    assert list(known.rungs[1].nodes) == ["2", "3"]
    assert known["train 3 to epoch 2"].settled
    assert list(known["evaluate"].choices) == ["2", "3"]
    sweeps.carry_out([known["train 2 to epoch 2"], known["train 3 to epoch 2"]], {**LOSSES, 6: 0.1})
    assert list(sweeps.plan(SWEEP, HALVING).rungs[2].nodes) == ["3"]


def test_more_epochs_add_rungs_behind_those_that_are_there(sweeps):
    def trained(plan):
        return [node for node in of_stage(plan, "train") if node.runs]

    short = sweeps.plan(SWEEP, HALVING, "train.epochs=2")
    assert [rung.stop for rung in short.rungs] == [1, 0]
    sweeps.shared = [short["ingest"], short["tokenize"]]
    sweeps.carry_out([short[name] for name in short.rungs[0].nodes.values()])
    sweeps.carry_out(trained(sweeps.plan(SWEEP, HALVING, "train.epochs=2")))
    longer = sweeps.plan(SWEEP, HALVING, "train.epochs=4")
    assert [rung.stop for rung in longer.rungs] == [1, 2, 0]
    assert [list(rung.nodes) for rung in longer.rungs] == [["1", "2", "3", "4"], ["2", "3"], ["2"]]
    assert [node.name for node in trained(longer)] == ["train 2"]


def test_a_plan_is_known_by_all_that_it_may_come_to(sweeps):
    assert sweeps.plan(SWEEP).identity == sweeps.plan(SWEEP).identity
    assert sweeps.plan(SWEEP).identity != sweeps.plan(SWEEP, "decode=null", "evaluate.batch_size=9").identity
    assert sweeps.plan(SWEEP).identity != sweeps.plan(SWEEP, HALVING).identity


@pytest.mark.parametrize("arguments", [(SWEEP,), (SWEEP, HALVING)])
def test_a_job_is_found_again_whatever_of_it_is_done(sweeps, arguments):
    submitted = sweeps.plan(*arguments)
    identities = {submitted.identity}
    sweeps.shared = [submitted["ingest"], submitted["tokenize"]]
    sweeps.carry_out(sweeps.shared)
    for rung in submitted.rungs:
        identities.add(sweeps.plan(*arguments).identity)
        sweeps.carry_out([submitted[name] for name in rung.nodes.values()])
    done = sweeps.plan(*arguments)
    assert done.pick
    assert {*identities, done.identity} == {submitted.identity}


def test_every_folder_is_listed_once(sweeps, monkeypatch):
    """However many trials there are."""
    listed = []
    names, entries = doors.names, doors.entries
    monkeypatch.setattr(doors, "names", lambda folder: listed.append(str(folder)) or names(folder))
    monkeypatch.setattr(doors, "entries", lambda folder: listed.append(str(folder)) or entries(folder))
    counts = []
    for trials in (2, 30):
        listed.clear()
        sweeps.plan(f"sweep={{over: {{model.dropout: {{uniform: [0, 0.9]}}}}, trials: {trials}}}")
        counts.append(sorted(listed))
    assert counts[0] == counts[1]


def shown(*renderables):
    console = Console(file=io.StringIO(), width=160)
    for each in renderables:
        console.print(each)
    return console.file.getvalue()


def test_the_plan_lists_trials_and_what_they_cost(sweeps):
    plan, pace = sweeps.plan(SWEEP), Pace(sweeps.store)
    assert total(plan, sweeps.config(SWEEP).sweep, pace) == "about 36 epochs are left to train"
    text = shown(trials_table(plan, pace))
    assert [line.split() for line in text.splitlines()[1:3]] == [
        ["1", "units", "4", "7", "runs", "9", "epochs"],
        ["2", "units", "5", "7", "runs", "9", "epochs"],
    ]
    halved = sweeps.plan(SWEEP, HALVING)
    assert shown(trials_table(halved, pace)).splitlines()[1].endswith("1 to 9 epochs")
    # 4 trials to epoch 1, 2 to epoch 2, 1 to the end.
    expected = "about 13 epochs are left to train"
    assert total(halved, sweeps.config(SWEEP, HALVING).sweep, pace) == expected


def test_durations_in_words():
    assert [duration(seconds) for seconds in (3.2, 89, 600, 7200)] == ["3 s", "89 s", "10 min", "2.0 h"]
