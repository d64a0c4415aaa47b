"""What the gate lets through, and what it remembers, on artifacts that nothing was trained for."""

import shutil

import pytest
import tiny
from made_runs import report_of

from components.errors import UserError
from components.evaluate.measured import write_measured
from components.export.push import Note, amend_note, push, read_note, versions
from pipeline.config import load_config
from pipeline.plan.planning import make_plan
from pipeline.serving import gate as gate_module
from pipeline.serving.gate import Gate
from pipeline.store.store import Store
from pipeline.tracking.registry import Champion, find_champion
from pipeline.tracking.tracker import Tracker


@pytest.fixture
def gate(tmp_path):
    """Makes the gate of a configuration whose stages have all run: 320 of 400 answers were right."""
    path = tiny.make(tmp_path)
    store = Store(tmp_path / "runs")

    def make(*overrides, force=(), right=320):
        config = load_config(path, overrides)
        for plan in make_plan(config, store):
            if plan.runs:
                staging = store.staging(plan.stage.name)
                if plan.stage.name == "evaluate":
                    report = report_of(right, task="classification")
                    write_measured(staging, "test", {**report, "slices": {}})
                if plan.stage.name == "export":
                    (staging / "model").mkdir()
                    (staging / "model" / "saved_model.pb").write_text(f"graph {config.seed}")
                store.commit(
                    staging, plan.stage.name, plan.key, plan.ingredients, {}, 1.0, replaces=plan.replaces
                )
        return Gate(config, make_plan(config, store), store, force)

    make.base, make.store, make.config = tmp_path / "serving" / "letters", store, path
    return make


def test_a_push_is_settled_once_it_is_registered(gate):
    first = gate()
    assert first.verdict().blessed
    assert (first.served, first.settled) == (None, False)
    assert first.push() == gate.base / "1"
    assert (gate().served, gate().settled) == (gate.base / "1", False)
    amend_note(gate.base, 1, registered=True)
    assert gate().settled
    assert gate("tracking.enabled=false").settled


def test_without_a_registry_a_push_is_settled_at_once(gate):
    gate("tracking.enabled=false").push()
    assert gate("tracking.enabled=false").settled
    assert read_note(gate.base, 1).tracking == ""


def test_another_registry_gets_the_model_too(gate, tmp_path):
    gate("tracking.enabled=false").push()
    gate().push()
    note = read_note(gate.base, 1)
    assert note.tracking == f"sqlite:///{tmp_path}/mlflow.db"
    amend_note(gate.base, 1, registered=True)
    assert gate().settled
    moved = gate("tracking.uri=http://127.0.0.1:9")
    assert not moved.settled
    assert moved.push() == gate.base / "1"
    assert (read_note(gate.base, 1).tracking, read_note(gate.base, 1).registered) == (
        "http://127.0.0.1:9",
        False,
    )


def test_what_an_older_version_rolled_back_is_known_by_its_key(gate):
    first = gate()
    push(first.exported.directory / "model", gate.base, Note("k", rolled_back=(first.exported.key,)))
    assert "it was rolled back" in gate().verdict().reasons[0]


def test_what_is_served_is_pushed_once(gate):
    gate().push()
    changed = "evaluate.bless=always"
    assert not gate(changed).settled
    assert gate(changed).push() == gate.base / "1"  # only its rules are noted
    amend_note(gate.base, 1, registered=True)
    assert gate(changed).settled
    assert not gate().settled


RULES = "evaluate.bless={accuracy: {max_drop: 0.01}}"


def away(*arguments):
    raise UserError("MLflow does not answer")


def judged(gate):
    gate.ask()
    assert gate.plan() is None
    return gate.verdict()


def test_what_is_served_is_the_champion_before_the_registry_knows_it(gate):
    """MLflow may be away when a run ends; a worse model must not slip in before it is back."""
    first = gate(RULES)
    assert judged(first).blessed
    first.push()
    worse = judged(gate(RULES, "seed=8", right=120))
    assert not worse.blessed
    assert f"of {gate.base}/1 (served, but not registered): a drop of" in worse.reasons[0]
    again = judged(gate(RULES))
    assert again.blessed
    assert again.champion == f"{gate.base}/1 (served, but not registered), which is this model"


def test_a_served_champion_that_cannot_be_asked_is_told(gate):
    first = gate(RULES)
    first.push()
    other = gate(RULES, "seed=8", "evaluate.resamples=400", right=360)
    other.ask()
    assert other.plan() is None  # it would have to be measured, and its graph is none
    verdict = other.verdict()
    assert not verdict.blessed
    assert f"the champion, {gate.base}/1 (served, but not registered), cannot be asked" in verdict.reasons[0]
    assert f"Remove {gate.base}/1, or bring another version back" in verdict.reasons[0]


def test_a_champion_that_comes_while_a_run_goes_on_is_not_passed_over(gate):
    slow = gate(RULES, right=320)
    slow.ask()
    assert slow.plan() is None  # there is no champion
    quick = gate(RULES, "seed=8", right=360)
    assert judged(quick).blessed
    quick.push()
    verdict = judged(slow)
    assert not verdict.blessed
    assert "(served, but not registered): a drop of" in verdict.reasons[0]
    # One that was measured nowhere has to be measured first.
    slow._measured_champion = lambda: None
    verdict = slow.verdict()
    assert not verdict.blessed
    assert "which was not asked in this run. Run again to have it compared" in verdict.reasons[0]


def test_what_is_served_is_looked_at_also_when_the_registry_has_gone(gate, monkeypatch):
    slow, quick = gate(RULES, right=120), gate(RULES, "seed=8", right=360)
    slow.ask()
    assert judged(quick).blessed
    quick.push()
    amend_note(gate.base, 1, registered=True)
    monkeypatch.setattr(gate_module, "find_champion", away)
    assert not judged(slow).blessed


@pytest.mark.parametrize("elsewhere", ["tracking.enabled=false", "tracking.uri=sqlite:///other.db"])
def test_what_is_served_is_the_champion_wherever_it_is_registered(gate, elsewhere):
    gate(elsewhere, right=360).push()
    assert not judged(gate(RULES, "seed=8", right=120)).blessed


def test_a_model_that_is_made_anew_is_compared_with_itself_as_it_was(gate, monkeypatch):
    """Its files may differ, and what is known of the old ones is about to be replaced."""
    first = gate(RULES)
    first.push()
    monkeypatch.setattr(Champion, "fetch", lambda champion, directory: directory)
    config = load_config(gate.config, [RULES])
    again = Gate(config, make_plan(config, gate.store, force=["export"]), gate.store, ["export"])
    again.ask()
    assert again.plan().stage.name == "champion"
    # After the job it is known whether the files are the same.
    assert judged_as(again).champion.endswith("which is this model")
    unforced = gate(RULES)
    unforced.ask()
    assert unforced.plan() is None


def test_what_is_known_of_an_earlier_make_is_not_taken_for_the_champions(gate):
    """The champion's export was made from figures that have been replaced since."""
    first = gate(RULES, right=360)
    first.push()
    exported, evaluated = first.exported, first.evaluated
    made_from(gate.store, exported, evaluated)
    other = gate(RULES, "seed=8", right=200)
    other.ask()
    assert other.plan() is None  # the champion's figures are there
    staging = gate.store.staging("evaluate")
    write_measured(staging, "test", {**report_of(120, task="classification"), "slices": {}})
    gate.store.commit(staging, "evaluate", evaluated.key, evaluated.ingredients, {}, 1.0, replaces=evaluated)
    other.ask()
    assert other._measured_champion() is None
    # Nor is what was made from other figures pushed or kept as it is.
    verdict = gate_of(gate, [RULES]).verdict()
    assert verdict.reasons == ["it was exported from another make than was measured. Run again"]
    plans = {plan.stage.name: plan for plan in make_plan(load_config(gate.config, [RULES]), gate.store)}
    assert plans["export"].reason == "evaluate was made anew, with other files"


def gate_of(gate, overrides):
    """The gate as it is, without what is missing being made."""
    config = load_config(gate.config, overrides)
    return Gate(config, make_plan(config, gate.store), gate.store)


def made_from(store, exported, evaluated):
    """Commits an export artifact again, as made from an evaluate artifact."""
    staging = store.staging("export")
    shutil.copytree(exported.directory / "model", staging / "model")
    upstream = {"evaluate": evaluated.digest()}
    store.commit(
        staging, "export", exported.key, exported.ingredients, {}, 1.0, replaces=exported, upstream=upstream
    )


def judged_as(gate):
    gate.ask()
    return gate.verdict()


def test_figures_and_export_of_different_weights_are_not_put_together(gate):
    """One of them was lost, and its training is another one now."""
    found = gate()
    staging = gate.store.staging("evaluate")
    shutil.copytree(found.evaluated.directory, staging, dirs_exist_ok=True)
    upstream = {"train": "other weights"}
    before = found.evaluated
    gate.store.commit(staging, "evaluate", before.key, before.ingredients, {}, 1.0, before, upstream)
    staging = gate.store.staging("export")
    shutil.copytree(found.exported.directory, staging, dirs_exist_ok=True)
    before = found.exported
    gate.store.commit(staging, "export", before.key, before.ingredients, {}, 1.0, before, {"train": "these"})
    assert "from another make" in gate_of(gate, []).verdict().reasons[0]


def test_what_builds_on_a_training_that_runs_runs_too(gate):
    found = gate()
    shutil.rmtree(gate.store.find("train", found._plans["train"].key).directory)
    plans = {plan.stage.name: plan for plan in make_plan(load_config(gate.config), gate.store)}
    assert [name for name, plan in plans.items() if plan.runs] == ["train", "evaluate", "export"]
    assert plans["export"].reason == "train runs, and may give other weights"
    shutil.rmtree(gate.store.find("ingest", found._plans["ingest"].key).directory)
    plans = {plan.stage.name: plan for plan in make_plan(load_config(gate.config), gate.store)}
    assert not plans["tokenize"].runs  # for the same examples give the same tokens


def test_weights_that_were_given_up_are_known_however_they_are_exported(gate):
    found = gate()
    before = found.exported
    staging = gate.store.staging("export")
    shutil.copytree(before.directory / "model", staging / "model")
    gate.store.commit(staging, "export", before.key, before.ingredients, {}, 1.0, before, {"train": "bad"})
    push(before.directory / "model", gate.base, Note("k", "m", rolled_back=("bad",)))
    assert "it was rolled back" in gate_of(gate, []).verdict().reasons[0]


def test_a_version_that_somebody_copied_there_does_not_hide_the_champion(gate, monkeypatch):
    better = gate(RULES, "seed=8", right=360)
    better.push()
    worse = gate(RULES, right=120)
    worse.ask()
    shutil.copytree(gate.base / "1", gate.base / "2", ignore=shutil.ignore_patterns("assets.extra"))
    monkeypatch.setattr(gate_module, "find_champion", away)
    assert not judged(worse).blessed


def test_a_registry_is_not_told_to_have_what_another_has(gate, tmp_path):
    gate("tracking.uri=http://user:secret@127.0.0.1:9").push()
    note = read_note(gate.base, 1)
    assert note.tracking == "http://127.0.0.1:9"  # what is served is for others to read
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "letters", "run", watch=False)
    tracker.start({}, {}, "")
    tracker.register(gate.base / "1", "abc")
    assert tracker.finish("FINISHED", timeout=300) == []
    assert read_note(gate.base, 1) == note
    assert find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters").key == note.key


def test_a_registry_that_goes_away_does_not_take_back_what_it_said(gate, monkeypatch):
    found = gate(RULES)
    found.ask()
    monkeypatch.setattr(
        found, "_config", load_config(gate.config, [RULES, "tracking.uri=http://127.0.0.1:9"])
    )
    assert judged(found).blessed


def test_the_same_key_with_other_files_is_another_model_to_serve(gate):
    first = gate()
    first.push()
    assert gate().served == gate.base / "1"
    before = first.exported
    staging = gate.store.staging("export")
    (staging / "model").mkdir()
    (staging / "model" / "saved_model.pb").write_bytes(b"other")
    gate.store.commit(staging, "export", before.key, before.ingredients, {}, 1.0, replaces=before)
    assert gate().served is None
    assert gate().push() == gate.base / "2"
    assert (gate.base / "2" / "saved_model.pb").read_bytes() == b"other"


def test_what_is_asked_for_is_pushed_although_it_is_served(gate):
    gate().push()
    assert gate(force=["export"]).push() == gate.base / "2"


def test_a_model_that_was_changed_after_its_validation_is_not_pushed(gate):
    found = gate()
    (found.exported.directory / "model" / "saved_model.pb").write_bytes(b"Graph 7")
    with pytest.raises(UserError, match=r"refused to push .*: model/saved_model.pb was changed after it was"):
        found.push()
    assert not gate.base.exists()
    # And the next run makes it anew.
    assert gate().push() == gate.base / "1"
    assert (gate.base / "1" / "saved_model.pb").read_bytes() == b"graph 7"


def test_a_model_that_was_rolled_back_is_known_however_it_is_evaluated(gate):
    first, other = gate(), gate("seed=8")
    assert first.model != other.model
    assert first.model == gate("evaluate.worst_examples=9", "evaluate.slices=[label]").model
    push(first.exported.directory / "model", gate.base, Note("k", "m", rolled_back=(first.model,)))
    for overrides in ([], ["evaluate.worst_examples=9"], ["evaluate.bless=always"]):
        verdict = gate(*overrides).verdict()
        assert not verdict.blessed
        assert "it was rolled back" in verdict.reasons[0]
    # A push of another model does not make it forgotten; its own does.
    assert other.verdict().blessed
    other.push()
    assert not gate().verdict().blessed
    forced = gate(force=["export"])
    assert forced.verdict().blessed
    forced.push()
    assert gate().verdict().blessed
    assert read_note(gate.base, max(versions(gate.base))).rolled_back == ()


def test_two_runs_that_push_at_once_each_know_their_version(gate):
    one, other = gate(), gate("seed=8")
    assert one.push() == gate.base / "1"
    assert other.push() == gate.base / "2"
    assert (one.served, other.served) == (gate.base / "1", gate.base / "2")
    assert gate().served is None  # for the newest is another


@pytest.mark.parametrize(
    ("bless", "blessed", "reasons"),
    [
        ("{accuracy: {min: 0.7}}", True, 1),
        ("{accuracy: {min: 0.9}}", False, 1),
        ("{accuracy: {min: 0.9, max_drop: 0.1}}", False, 3),
        ("{accuracy: {max_drop: 0.1}}", False, 2),
    ],
)
def test_a_registry_that_is_away_decides_only_where_it_has_a_say(gate, bless, blessed, reasons):
    found = gate(f"evaluate.bless={bless}", "tracking.uri=http://127.0.0.1:9")
    found.ask()
    assert found.knows
    assert found.plan() is None
    verdict = found.verdict()
    assert (verdict.blessed, len(verdict.reasons)) == (blessed, reasons)
    assert len(verdict.rules) == len(verdict.reasons)
    if "max_drop" in bless:
        assert "cannot be asked for the champion" in verdict.reasons[0]
        assert "Run again when it answers" in verdict.reasons[0]
        assert not any("no champion yet" in reason for reason in verdict.reasons)
