"""Several seeds of every setting: which ones, how they are called, and which one is served."""

import io
from xml.etree import ElementTree

import pytest
import tiny
from rich.console import Console

from components import files
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.report.facts import RunFacts
from pipeline.report.sweep import SweepFacts
from pipeline.report.sweep_curves import learning_curves
from pipeline.run.observe import read_records
from pipeline.run.pipeline import run_pipeline
from pipeline.run.sweep_table import trials_table
from pipeline.serving.versions import read_note, versions
from pipeline.store.store import Store
from pipeline.sweep.pace import Pace
from pipeline.sweep.statistics import interval_over_seeds

UNITS = "sweep={over: {model.encoder.units: [2, 8]}, monitor: accuracy, parallel: 2}"
SLOWLY = "train.optimizer.learning_rate=0.002"  # so that seeds differ
OVERRIDES = ("tracking.enabled=false", "evaluate.bless=always", SLOWLY, UNITS)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("repeat"))


def planned(path, *overrides):
    config = load_config(path, (*OVERRIDES, *overrides))
    store = Store(Places.of(config).root)
    return make_plan(config, Places.of(config), store), store


def test_every_setting_has_the_run_s_seed_and_those_behind_it(path):
    plan, _ = planned(path, "sweep.repeat=5", "seed=40")
    seeds = {}
    for trial in plan.trials:
        seeds.setdefault(trial.group, []).append((trial.id, trial.config.seed))
    assert seeds["1"] == [("1", 40), ("1.2", 41), ("1.3", 42), ("1.4", 43), ("1.5", 44)]
    assert [seed for _, seed in seeds["2"]] == [40, 41, 42, 43, 44]
    trainings = {plan.node("train", trial.id).key for trial in plan.trials}
    assert len(trainings) == 10


def test_a_seed_of_a_setting_is_a_run_of_its_own_with_that_seed(path):
    plan, _ = planned(path, "sweep.repeat=3")
    alone = make_plan(
        config := load_config(path, ("model.encoder.units=8", "train.monitor=accuracy", "seed=9", SLOWLY)),
        Places.of(config),
        Store(Places.of(config).root),
    )
    assert plan.node("train", "2.3").key == alone.node("train").key


@pytest.mark.parametrize(
    ("repeat", "expected"), [(1, "2 units 8 7 runs"), (3, "2.3 units 8 setting 2, seed 9 runs")]
)
def test_the_plan_calls_trials_by_setting_and_seed(repeat, expected, path):
    plan, store = planned(path, f"sweep.repeat={repeat}")
    console = Console(file=io.StringIO(), width=160)
    console.print(trials_table(plan, Pace(store)))
    last = console.file.getvalue().splitlines()[-1].split()
    assert " ".join(last).startswith(expected)


def run(path, *overrides):
    console = Console(file=io.StringIO(), width=200)
    given = (*OVERRIDES, "sweep.repeat=2", *overrides)
    config = load_config(path, given)
    assert run_pipeline(config, console, str(path), given) == 0, console.file.getvalue()
    places = Places.of(config)
    return read_records(places.root)[-1], Store(places.root)


@pytest.fixture(scope="module")
def trained(path):
    return run(path)


@pytest.mark.slow
def test_the_best_seed_of_the_best_mean_is_served(trained, path):
    record, store = trained
    by_trial = {
        trial: record.nodes[name].summary["val_accuracy"] for trial, name in record.rungs[0].nodes.items()
    }
    means = {group: (by_trial[group] + by_trial[f"{group}.2"]) / 2 for group in ("1", "2")}
    best = max(means, key=means.__getitem__)
    seeds = {trial: by_trial[trial] for trial in (best, f"{best}.2")}
    assert record.pick == max(seeds, key=seeds.__getitem__)
    assert by_trial["1"] != by_trial["1.2"]
    sweep = SweepFacts.of(RunFacts.of(record, store))
    assert sweep.settings[0].trials[0].trial.group == best
    assert sweep.settings[0].mean == pytest.approx(means[best])
    assert sweep.settings[0].interval == interval_over_seeds(list(seeds.values()))
    (served,) = versions(files.resolve(path.parent / "serving" / "letters")).values()
    assert read_note(served).content.model.weights == record.node("train").summary["weights"]


@pytest.mark.slow
def test_the_card_of_a_trained_sweep(trained, path):
    record, store = trained
    page = files.read(store.root / "runs" / record.id / "card.html").decode()
    trial = record.trials[record.pick]
    text = " ".join(page.split())
    assert f"seeds, {trial.seed} is the best on validation: trial {record.pick}" in text
    assert "Of all trials, only this model was evaluated on the test split, and it is served" in text
    (gap,) = [each for each in SweepFacts.of(RunFacts.of(record, store)).gaps if each.metric == "accuracy"]
    assert gap.test == record.metrics["accuracy"]
    assert gap.validation == record.node("train").summary["val_accuracy"]
    assert f"training curves of trial {record.pick}" in page


@pytest.mark.slow
def test_curves_of_reused_trials_are_those_of_their_trainings(trained, path):
    record, store = trained
    again, _ = run(path, "evaluate.resamples=50")
    assert {node.state for node in again.nodes.values() if node.stage == "train"} == {"reused"}
    curves = SweepFacts.of(RunFacts.of(again, store)).curves
    assert curves == SweepFacts.of(RunFacts.of(record, store)).curves
    assert {len(curve) for curve in curves.values()} == {2}
    chart = ElementTree.fromstring(learning_curves(SweepFacts.of(RunFacts.of(again, store))).chart)
    assert len(list(chart.iter("polyline"))) == 4
