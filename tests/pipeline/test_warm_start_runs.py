"""Runs that start from the model of an earlier run."""

import random

import pytest
import tiny

from components import files
from components.errors import UserError
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.report.facts import find_runs
from pipeline.run.models import initial_of
from pipeline.run.observe import read_records
from pipeline.store.store import Store


def write(folder, name, letters, count, first):
    draw = random.Random(first)
    rows = [(draw.choice(letters), number) for number in range(first, first + count)]
    lines = ["text\tlabel", *(f"{letter * 3}{number}\t{letter}" for letter, number in rows)]
    (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def records(folder):
    return read_records(files.resolve(folder / "runs"))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run on the letters a, b and c, whose model is served; then other data: those and d, which is new."""
    folder = tmp_path_factory.mktemp("warm")
    config = tiny.make(folder)
    code, printed = tiny.run(config, "train.epochs=4")
    assert code == 0, printed
    (record,) = records(folder)
    write(folder, "train", "abcd", 200, 1000)
    write(folder, "validation", "abcd", 40, 2000)
    write(folder, "test", "abcd", 40, 3000)
    return folder, config, record


def planned(config, *overrides):
    loaded = load_config(config, overrides)
    places = Places.of(loaded)
    return make_plan(loaded, places, Store(places.root), initial=initial_of(loaded))


def test_a_model_that_goes_on_learns_what_is_new_and_is_asked_what_it_knew(first):
    folder, config, earlier = first
    start = f"train.init_from={earlier.id}"
    bless = "evaluate.bless={accuracy: {min: 0.8, max_forgetting: 0.05}}"
    code, printed = tiny.run(config, start, bless)
    assert code == 0, printed
    record = records(folder)[-1]
    assert record.metrics["accuracy"] > 0.9
    assert {"evaluate initial", "evaluate retained"} <= record.nodes.keys()
    facts = find_runs(folder / "runs", [record.id])[0]
    before = find_runs(folder / "runs", [earlier.id])[0]
    assert facts.tokens.labels() == ["a", "b", "c", "d"]
    assert facts.tokens.labels()[:3] == before.tokens.labels()

    # Both are measured on the test set of the earlier run, whose figures the initial model has again.
    assert facts.candidates["evaluate initial"].summary["metrics"] == pytest.approx(
        before.evaluation.summary["metrics"], abs=1e-6
    )
    retained = facts.candidates["evaluate retained"]
    old = [row["input"] for row in before.evaluation.predictions()]
    assert [row["input"] for row in retained.predictions()] == old
    (reason,) = [each for each in record.verdict["reasons"] if "max_forgetting" in each]
    assert "of the initial model on its test set" in reason
    page = files.read(files.resolve(folder / "runs") / "runs" / record.id / "card.html").decode()
    assert f"this model on the test set of run {earlier.id}" in page
    for figures in (retained.summary["metrics"], facts.evaluation.summary["metrics"]):
        assert f"{figures['accuracy']:.4f}" in page

    # The same model by another name has the same keys; without it they are others.
    by_name = planned(config, f"train.init_from={folder}/serving/letters/1", bless)
    assert not any(node.runs for node in by_name)
    assert [node.name for node in planned(config) if node.runs] == [
        "tokenize",
        "train",
        "evaluate",
        "export",
    ]


def test_a_model_that_has_forgotten_too_much_is_not_pushed(first):
    folder, config, earlier = first
    write(folder, "train", "d", 200, 5000)
    write(folder, "validation", "d", 20, 6000)
    write(folder, "test", "d", 20, 7000)
    code, printed = tiny.run(
        config,
        f"train.init_from={earlier.id}",
        "train.epochs=6",
        "evaluate.bless={accuracy: {min: 0.8, max_forgetting: 0.05}}",
    )
    assert code == 3, printed
    assert "max_forgetting): fails by" in printed
    assert records(folder)[-1].metrics["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.init_from=nonsense"], "nonsense is no model"),
        (["model.encoder.units=9"], r"the network differs .*model\.encoder\.units is 9"),
        (["tokenize={text: {type: words}}"], "tokenize"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(first, overrides, message):
    folder, config, earlier = first
    count = len(records(folder))
    start = [] if overrides[0].startswith("train") else [f"train.init_from={earlier.id}"]
    with pytest.raises(UserError, match=message):
        planned(config, *start, *overrides)
    assert len(records(folder)) == count


def test_a_model_of_another_task(first, tmp_path):
    _, _, earlier = first
    config = tiny.make(tmp_path, tiny.SEQ2SEQ)
    root = first[0] / "runs"
    with pytest.raises(UserError, match="is a model for classification, expected one for seq2seq"):
        planned(config, f"train.init_from={earlier.id}", f"root={root}")


def test_a_bound_on_forgetting_without_anything_to_forget(tmp_path):
    config = tiny.make(tmp_path)
    with pytest.raises(UserError, match=r"has a max_forgetting.*remove it, or set train\.init_from"):
        load_config(config, ["evaluate.bless={accuracy: {max_forgetting: 0.05}}"])
