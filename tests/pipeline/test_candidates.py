"""The champion as one more candidate of evaluate, on plans that are carried out with made-up files."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from made_nodes import carry_out

from components import files
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.run.candidates import champion_node, measured_champion
from pipeline.store.store import Store
from pipeline.tracking.champion import Champion

CHAMPION = Champion("version 1", None, "digest", "uri")
ELSEWHERE = Path("/where/it/was/copied")


@pytest.fixture
def planned(tmp_path):
    """Plans a run with some overrides; returns plan and store."""
    path = tiny.make(tmp_path)

    def plan(*overrides):
        config = load_config(path, overrides)
        places = Places.of(config)
        store = Store(places.root)
        return make_plan(config, places, store), store

    return plan


def node_of(planned, *overrides, champion=CHAMPION, model=ELSEWHERE):
    plan, store = planned(*overrides)
    return champion_node(champion, model, plan, store)


def found(planned, *overrides, champion=CHAMPION, made=None):
    plan, store = planned(*overrides)
    return measured_champion(champion, plan, store, made)


def measure(planned, *overrides):
    """Carries a run out that measures the champion, too; returns its artifacts by node."""
    plan, store = planned(*overrides)
    return carry_out(store, plan.with_node(champion_node(CHAMPION, ELSEWHERE, plan, store)))


def test_it_is_a_node_of_evaluate_that_belongs_to_no_trial(planned):
    plan, store = planned()
    node = champion_node(CHAMPION, ELSEWHERE, plan, store)
    assert (node.name, node.stage.name, node.trial) == ("evaluate champion", "evaluate", "champion")
    own = plan["evaluate"].reads["ingest"]
    assert node.reads == {"ingest": replace(own, parts=("validation", "test", "kept"))}
    assert node.reason == "version 1, on the same examples"
    assert node.runs
    more = plan.with_node(node)
    assert more["evaluate champion"] is node
    assert more.trials_of(node) == []
    assert more.trials_of(more["evaluate"]) == ["1"]
    assert len(more) == len(plan) + 1


def test_its_key_is_that_of_the_model_and_of_what_is_measured(planned):
    key = node_of(planned).key
    assert key != planned()[0]["evaluate"].key
    assert node_of(planned, model=Path("/another/place")).key == key
    assert node_of(planned, champion=Champion("version 7", None, "digest", "other uri")).key == key
    assert node_of(planned, champion=Champion("version 1", None, "other", "uri")).key != key
    others = ("evaluate.batch_size=9", "evaluate.bless=always", "evaluate.baseline=tfidf")
    for own in ("seed=8", "model.encoder.units=9", *others, "evaluate.calibrate=temperature"):
        assert node_of(planned, own).key == key
    for shared in ("evaluate.resamples=9", "evaluate.worst_examples=3", "ingest.max_characters=5"):
        assert node_of(planned, shared).key != key


def test_a_baseline_is_measured_beside_the_own_model_alone_and_shapes_no_answer(planned):
    plan, with_baseline = planned()[0]["evaluate"], planned("evaluate.baseline=tfidf")[0]["evaluate"]
    assert plan.key != with_baseline.key
    assert with_baseline.ingredients.libraries.keys() - plan.ingredients.libraries.keys() == {"scikit-learn"}
    shaping = with_baseline.stage.parts(with_baseline.config, with_baseline.ingredients)["predictions"]
    assert "evaluate.baseline" not in shaping.settings


def test_what_was_measured_of_it_is_known_to_every_run_on_the_same_examples(planned, tmp_path):
    assert found(planned) is None
    made = measure(planned)["evaluate champion"]
    for overrides in ([], ["seed=8"], ["train.epochs=5", "evaluate.batch_size=9"]):
        assert found(planned, *overrides).reference == made.reference
        assert not node_of(planned, *overrides).runs
    assert found(planned, "evaluate.resamples=9") is None
    assert found(planned, champion=Champion("version 1", None, "other", "uri")) is None
    with (tmp_path / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("more\ta\n")
    assert found(planned) is None  # nobody knows yet what will be read


def test_what_a_run_has_read_decides_once_it_is_there(planned):
    made = measure(planned)
    assert found(planned, made=made["evaluate"]).reference == made["evaluate champion"].reference
    made["evaluate"].manifest.read["ingest test"] = "other examples"
    assert found(planned, made=made["evaluate"]) is None


@pytest.mark.parametrize("harm", ["file", "manifest"])
def test_damaged_figures_are_measured_again_under_the_next_number(planned, harm):
    made = measure(planned)["evaluate champion"]
    place = made.place("metrics.json") if harm == "file" else made.reference.manifest
    files.local(place).write_bytes(b"{")
    assert found(planned) is None
    node = node_of(planned)
    assert (node.runs, node.number) == (True, 2)
    assert node.reason.startswith("the artifact is damaged: ")
    again = measure(planned)["evaluate champion"]
    assert again.manifest.number == 2
    assert found(planned).reference == again.reference
