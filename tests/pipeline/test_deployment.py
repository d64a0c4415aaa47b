"""Which models are pushed, and what is remembered of it, on artifacts that nothing was trained for."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from made_models import contents, make_evaluation, make_export, model_id, push
from mlflow import MlflowClient

from components import files
from components.errors import UserError
from pipeline.config import load_config
from pipeline.serving import deployment
from pipeline.serving.deployment import Deployment, fetch_champion, standing
from pipeline.serving.rollback import roll_back
from pipeline.serving.served import Served
from pipeline.serving.verdict import decide
from pipeline.tracking.champion import Champion, find_champion
from pipeline.tracking.registry import make_champion

CONFIG = """\
name: letters
task: classification
root: {folder}/runs
ingest: {{files: {{train: {folder}/train.tsv, validation: {folder}/train.tsv, test: {folder}/train.tsv}}}}
model: {{encoder: {{type: gru, units: 8}}}}
train: {{epochs: 2}}
evaluate: {{bless: {{accuracy: {{min: 0.5}}}}}}
export: {{directory: {folder}/serving}}
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
"""
RULES = "evaluate.bless={accuracy: {max_regression: 0.01}}"


class Run:
    """A run whose stages have all run, and what it has seen so far of what is served.

    Args:
        deployment: of its model.
        exported: its model; None if that is not there yet.
        evaluated: what was measured of it.
        measured: gives what was measured of a champion.
    """

    def __init__(self, deployment, exported, evaluated, measured):
        self.deployment = deployment
        self.exported = exported
        self.evaluated = evaluated
        self.measured = measured
        self.sight = None
        self.deployed = None

    def look(self):
        self.sight = self.deployment.look(self.sight)

    @property
    def standing(self):
        """How it stands with the champion."""
        return standing(self.sight, self.exported, self.measured).state

    def fetch_champion(self, directory):
        self.sight, model = fetch_champion(self.sight, directory)
        return model

    def verdict(self):
        if self.sight is None:
            self.look()
        return decide(self.deployment.situation(self.sight, self.exported, self.evaluated, self.measured))

    def push(self):
        """Decides, and pushes; returns where the model is served if it may be."""
        self.deployed = self.deployment.deploy(
            self.exported, self.evaluated, self.measured, before=self.sight
        )
        return self.deployed.place if self.deployed.verdict.blessed else None

    @property
    def served(self):
        return self.deployment.place_of(self.exported)

    @property
    def settled(self):
        return self.deployment.is_settled(self.exported)


class Runs:
    """Makes runs: 320 of 400 answers were right."""

    def __init__(self, folder):
        self.base = files.resolve(folder / "serving" / "letters")
        self.served = Served(files.resolve(folder / "serving"), "letters")
        self.folder = folder
        self.config = folder / "pipeline.yaml"
        self.config.write_text(CONFIG.format(folder=folder))
        (folder / "train.tsv").write_text("text\tlabel\na\tb\n")
        self.made = {}
        self.measured = {}

    def __call__(self, *overrides, force=(), name="a", right=320, exported=None):
        """A run.

        Args:
            overrides: of the configuration.
            force: stages that were asked for.
            name: of the weights.
            right: how many answers are right.
            exported: another export than that of these weights.
        """
        if name not in self.made:
            evaluated = make_evaluation(self.folder / "runs", right, {"train model": name})
            read = {"train model": name, "evaluate predictions": evaluated.manifest.digests["predictions"]}
            made = make_export(self.folder / "runs", name, read=read)
            self.made[name] = (made, evaluated)
            self.measured[made.manifest.digests["model"]] = evaluated
        made, evaluated = self.made[name]
        config = load_config(self.config, overrides)
        place = files.resolve(config.export.directory)
        measured = lambda champion: self.measured.get(champion.digest)  # noqa: E731
        return Run(Deployment(config, place, force), exported or made, evaluated, measured)

    def look(self):
        return self.served.look()

    def registered(self, number=1):
        """Has the registry have a version."""
        self.served.claims.mark(number, "registered", f"sqlite:///{self.folder}/mlflow.db")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    return Runs(tmp_path)


def silent(*arguments):
    raise UserError("MLflow does not answer")


def judged(run):
    run.look()
    assert run.standing != "unmeasured"
    return run.verdict()


def test_a_push_is_settled_once_it_is_registered(runs):
    first = runs()
    assert first.verdict().blessed
    assert (first.served, first.settled) == (None, False)
    assert first.push() == runs.base / "1"
    assert (runs().served, runs().settled) == (runs.base / "1", False)
    runs.registered()
    assert runs().settled
    assert runs("tracking.enabled=false").settled
    claim = runs.served.claims.of(1)
    assert (claim.content.model, claim.champion) == (model_id("a"), None)


def test_without_a_registry_a_push_is_settled_at_once(runs):
    runs("tracking.enabled=false").push()
    assert runs("tracking.enabled=false").settled
    assert runs.served.claims.of(1).tracking == ""


def test_another_registry_gets_the_model_too(runs, tmp_path):
    runs("tracking.enabled=false").push()
    assert runs().push() == runs.base / "1"
    assert runs.served.claims.registries(1) == [f"sqlite:///{tmp_path}/mlflow.db"]
    runs.registered()
    assert runs().settled
    moved = runs("tracking.uri=http://127.0.0.1:9")
    assert not moved.settled
    assert moved.push() == runs.base / "1"
    assert runs.served.claims.meant(1, "http://127.0.0.1:9")
    assert not moved.settled


def test_what_is_served_is_pushed_once(runs):
    runs().push()
    changed = "evaluate.bless=always"
    assert not runs(changed).settled
    assert runs(changed).push() == runs.base / "1"  # only its rules are noted
    runs.registered()
    assert runs(changed).settled
    assert runs().settled
    assert not runs("evaluate.bless={accuracy: {min: 0.6}}").settled


def test_what_is_served_is_the_champion_before_the_registry_knows_it(runs):
    """MLflow may be unreachable when a run ends; a worse model must not slip in before it answers."""
    first = runs(RULES)
    assert judged(first).blessed
    first.push()
    worse = judged(runs(RULES, name="b", right=120))
    assert not worse.blessed
    assert f"of {runs.base}/1 (served, but not registered): a drop of" in worse.reasons[0]
    again = judged(runs(RULES))
    assert again.blessed
    assert again.champion == f"{runs.base}/1 (served, but not registered), which is this model"


def test_a_champion_on_which_nothing_is_known_has_to_be_measured(runs, monkeypatch):
    runs(RULES).push()
    other = runs(RULES, name="b", right=360)
    runs.measured.clear()
    other.look()
    assert other.standing == "unmeasured"
    assert other.sight.champion.digest == runs.made["a"][0].manifest.digests["model"]
    # Nothing is loaded where the files are no SavedModel.
    assert other.fetch_champion(runs.folder) is None
    assert other.standing != "unmeasured"
    verdict = other.verdict()
    assert not verdict.blessed
    assert f"the champion, {runs.base}/1 (served, but not registered), cannot be asked" in verdict.reasons[0]
    assert f"Remove {runs.base}/1, or bring another version back" in verdict.reasons[0]


def test_a_champion_whose_files_were_changed_is_not_measured(runs):
    runs(RULES).push()
    files.write(runs.base / "1" / "saved_model.pb", b"changed")
    runs.measured.clear()
    other = runs(RULES, name="b", right=360)
    other.look()
    other.fetch_champion(runs.folder)
    assert "cannot be asked: saved_model.pb was changed after it was pushed" in other.verdict().reasons[0]


def test_a_champion_that_comes_while_a_run_goes_on_is_not_passed_over(runs):
    slow = runs(RULES, right=320)
    slow.look()
    assert slow.standing != "unmeasured"  # there is no champion
    assert slow.verdict().blessed
    quick = runs(RULES, name="b", right=360)
    assert judged(quick).blessed
    quick.push()
    assert slow.push() is None
    assert not slow.deployed.verdict.blessed
    assert "(served, but not registered): a drop of" in slow.deployed.verdict.reasons[0]
    # One that was measured nowhere has to be measured first.
    runs.measured.clear()
    slow.look()
    verdict = slow.verdict()
    assert not verdict.blessed
    assert "which was not measured in this run. Run again to have it compared" in verdict.reasons[0]


def test_two_that_push_at_once_are_each_judged_in_sight_of_the_other(runs, monkeypatch):
    """Both have found that there is no champion; the worse one may be the first, but not the last."""
    better, worse = runs(RULES, right=360), runs(RULES, name="b", right=120)
    for each in (better, worse):
        each.look()
        assert each.verdict().blessed
    barrier, claim = threading.Barrier(2), Served.claim

    def at_once(served, seen, wanted):
        if seen.highest == 0:
            barrier.wait(30)
        return claim(served, seen, wanted)

    monkeypatch.setattr(Served, "claim", at_once)
    with ThreadPoolExecutor(2) as threads:
        best, worst = threads.map(Run.push, (better, worse))
    assert best is not None
    newest = runs.served.claims.of(runs.look().newest)
    assert newest.content.model == model_id("a")
    if worst is None:
        assert "a drop of" in worse.deployed.verdict.reasons[0]
    else:
        assert (worst, best) == (runs.base / "1", runs.base / "2")
        assert newest.champion["model"] == list(model_id("b"))


def test_what_is_served_is_looked_at_also_when_the_registry_has_gone(runs, monkeypatch):
    slow, quick = runs(RULES, right=120), runs(RULES, name="b", right=360)
    slow.look()
    assert judged(quick).blessed
    quick.push()
    runs.registered()
    monkeypatch.setattr(deployment, "find_champion", silent)
    assert not judged(slow).blessed


@pytest.mark.parametrize("elsewhere", ["tracking.enabled=false", "tracking.uri=sqlite:///other.db"])
def test_what_is_served_is_the_champion_wherever_it_is_registered(runs, elsewhere):
    runs(elsewhere, right=360).push()
    assert not judged(runs(RULES, name="b", right=120)).blessed


def test_a_model_that_is_exported_again_is_the_champion_once_it_is_there(runs):
    """Before, nobody knows what will come out."""
    runs(RULES).push()
    runs.measured.clear()
    again = runs(RULES, force=["export"])
    again.exported = None
    again.look()
    assert again.standing == "unmeasured"
    again.exported = make_export(runs.folder / "runs", "a", {"saved_model.pb": b"frozen by another library"})
    assert again.standing != "unmeasured"
    assert judged(again).champion.endswith("which is this model")
    unforced = runs(RULES)
    unforced.look()
    assert unforced.standing != "unmeasured"


def test_figures_and_export_of_different_weights_are_not_put_together(runs):
    runs()
    for read in ({"train model": "other"}, {"evaluate predictions": "other"}):
        other = make_export(runs.folder / "runs", "a", read=read)
        verdict = runs(exported=other).verdict()
        assert verdict.reasons == ["it was exported from other weights than were measured. Run again"]


def test_a_version_that_somebody_copied_there_does_not_hide_the_champion(runs, monkeypatch):
    better = runs(RULES, name="b", right=360)
    better.push()
    worse = runs(RULES, right=120)
    worse.look()
    shutil.copytree(runs.base / "1", runs.base / "2", ignore=shutil.ignore_patterns("assets.extra"))
    monkeypatch.setattr(deployment, "find_champion", silent)
    assert not judged(worse).blessed


def test_a_copy_of_a_version_is_known_by_its_note(runs):
    runs(RULES, name="b", right=360).push()
    shutil.copytree(runs.base / "1", runs.base / "5")
    assert runs(name="b").served == runs.base / "5"
    assert not judged(runs(RULES, right=120)).blessed
    assert runs("evaluate.bless=always").push() == runs.base / "6"


def test_a_registry_is_not_told_to_have_what_another_has(runs, tmp_path):
    runs("tracking.uri=http://user:secret@127.0.0.1:9").push()
    assert runs.served.claims.of(1).tracking == "http://127.0.0.1:9"  # what is served is for others to read
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
    make_champion(client, uri, run.info.run_id, runs.base / "1", "abc")
    assert not runs.served.claims.registered(1, "http://127.0.0.1:9")
    assert runs.served.claims.registered(1, uri)
    found = find_champion(uri, "letters")
    content = runs.served.claims.of(1).content
    assert (found.model, found.digest) == (content.model, content.digest)


def test_a_registry_that_goes_away_does_not_take_back_what_it_said(runs, monkeypatch):
    found = runs(RULES)
    found.look()
    monkeypatch.setattr(deployment, "find_champion", silent)
    assert judged(found).blessed


def test_a_registry_that_answers_late_has_answered(runs, monkeypatch):
    """While it did not, nothing could be compared; at the end it says that there is no champion."""
    found = runs(RULES)
    with monkeypatch.context() as patched:
        patched.setattr(deployment, "find_champion", silent)
        verdict = judged(found)
        assert verdict.reasons[0] == "MLflow does not answer. Run again when it answers"
        assert judged(found) == verdict  # nor does it the second time
    assert judged(found).blessed
    assert found.push() == runs.base / "1"


def test_a_registry_that_never_answered_is_not_replaced_by_what_another_has_pushed(runs, monkeypatch):
    found = runs(RULES, right=360)
    runs("tracking.enabled=false", name="b", right=300).push()
    runs.registered()
    monkeypatch.setattr(deployment, "find_champion", silent)
    found.look()
    runs("tracking.enabled=false", name="c", right=320).push()
    runs.registered(2)
    verdict = judged(found)
    assert verdict.reasons[0] == "MLflow does not answer. Run again when it answers"
    assert found.push() is None


def test_a_model_that_is_served_and_not_good_enough_any_more_is_told_of(runs):
    runs().push()
    again = runs("evaluate.bless={accuracy: {min: 0.99}}")
    assert again.push() is None
    assert again.deployed.place == runs.base / "1"
    assert runs.look().newest == 1


def test_the_same_model_with_other_files_is_pushed_as_another_version(runs):
    runs().push()
    assert runs().served == runs.base / "1"
    other = make_export(runs.folder / "runs", "a", {"saved_model.pb": b"other"})
    assert runs(exported=other).served is None
    assert runs(exported=other).push() == runs.base / "2"
    assert contents(runs.base / "2") == {"saved_model.pb": b"other"}


def test_what_is_asked_for_is_pushed_although_it_is_served(runs):
    runs().push()
    assert runs(force=["export"]).push() == runs.base / "2"


def test_a_model_that_was_changed_after_its_validation_is_not_pushed(runs):
    found = runs()
    path = runs.made["a"][0].saved_model() / "saved_model.pb"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(UserError, match=r"refused to push: .*saved_model.pb is not what was written"):
        found.push()
    assert not runs.base.exists()
    assert runs.look().highest == 0


def test_a_served_model_that_was_damaged_is_named_and_pushed_again(runs):
    runs().push()
    runs.registered()
    time.sleep(0.01)
    files.write(runs.base / "1" / "variables" / "variables.index", b"INDEX")
    again = runs()
    assert (again.served, again.settled) == (None, False)
    assert again.push() == runs.base / "2"
    assert again.deployed.warning == (
        f"{runs.base}/1: variables/variables.index was changed after it was pushed; the model is served as "
        "version 2 now"
    )
    assert runs().served == runs.base / "2"


def test_what_another_run_has_begun_to_push_is_completed_before_judging(runs, monkeypatch):
    quick = runs(RULES, right=360)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Served, "complete", killed)
        with pytest.raises(KeyboardInterrupt):
            quick.push()
    assert runs.look().newest is None
    assert not runs().settled
    assert not judged(runs(RULES, name="b", right=120)).blessed
    assert runs.look().newest == 1


def test_a_model_that_was_rolled_back_is_known_however_it_is_evaluated(runs):
    first, other = runs(), runs(name="b")
    other.push()
    first.push()
    assert roll_back(runs.base).source == 1
    for overrides in ([], ["evaluate.worst_examples=9"], ["evaluate.bless=always"]):
        verdict = runs(*overrides).verdict()
        assert not verdict.blessed
        assert "it was rolled back" in verdict.reasons[0]
    # However it was frozen.
    frozen = make_export(runs.folder / "runs", "a", {"saved_model.pb": b"other"})
    assert not runs(exported=frozen).verdict().blessed
    # A push of another model does not make it forgotten; its own does.
    assert runs(name="c").push() == runs.base / "4"
    assert not runs().verdict().blessed
    assert runs().push() is None
    forced = runs(force=["export"])
    assert forced.push() == runs.base / "5"
    assert runs().verdict().blessed
    assert runs.served.given_up(runs.look()) == ()


def test_two_runs_that_push_after_each_other_each_know_their_version(runs):
    one, other = runs(), runs(name="b")
    assert one.push() == runs.base / "1"
    assert other.push() == runs.base / "2"
    assert (one.deployed.place, other.deployed.place) == (runs.base / "1", runs.base / "2")
    assert runs().served is None  # for the newest is another


def test_versions_are_pruned_by_the_configuration(runs):
    runs(name="z")
    for _ in range(4):
        push(runs.made["z"][0].saved_model(), runs.base, "z")
    assert runs("export.keep_versions=2").push() == runs.base / "5"
    assert sorted(runs.look().versions) == [4, 5]


def test_versions_are_pruned_by_the_next_run_if_the_one_that_pushed_was_killed(runs, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    runs(name="z")
    for _ in range(2):
        push(runs.made["z"][0].saved_model(), runs.base, "z")
    with monkeypatch.context() as patched:
        patched.setattr(Served, "prune", killed)
        with pytest.raises(KeyboardInterrupt):
            runs("export.keep_versions=2").push()
    assert sorted(runs.look().versions) == [1, 2, 3]
    assert runs("export.keep_versions=2").push() == runs.base / "3"
    assert sorted(runs.look().versions) == [2, 3]


@pytest.mark.parametrize(
    ("bless", "blessed", "reasons"),
    [
        ("{accuracy: {min: 0.7}}", True, 1),
        ("{accuracy: {min: 0.9}}", False, 1),
        ("{accuracy: {min: 0.9, max_regression: 0.1}}", False, 3),
        ("{accuracy: {max_regression: 0.1}}", False, 2),
    ],
)
def test_a_registry_that_is_unreachable_decides_only_where_it_counts(runs, bless, blessed, reasons):
    found = runs(f"evaluate.bless={bless}", "tracking.uri=http://127.0.0.1:9")
    found.look()
    assert found.standing != "unmeasured"
    verdict = found.verdict()
    assert (verdict.blessed, len(verdict.reasons)) == (blessed, reasons)
    assert len(verdict.rules) == len(verdict.reasons)
    if "max_regression" in bless:
        assert "cannot be asked for the champion" in verdict.reasons[0]
        assert "Run again when it answers" in verdict.reasons[0]
        assert not any("no champion yet" in reason for reason in verdict.reasons)


def test_a_champion_in_the_registry_is_told_by_its_files_or_its_model(runs, monkeypatch):
    found = runs(RULES)
    exported = runs.made["a"][0]
    for champion in (
        Champion("version 3", None, exported.manifest.digests["model"], "file:///x", "uri"),
        Champion("version 3", exported.model_id, "other files", "file:///x", "uri"),
    ):
        monkeypatch.setattr(deployment, "find_champion", lambda *_, found=champion: found)
        assert judged(found).champion == "version 3, which is this model"
    foreign = Champion("version 3", None, "", "file:///x", "uri")
    monkeypatch.setattr(deployment, "find_champion", lambda *_: foreign)
    found.look()
    assert found.standing == "unmeasured"
    assert foreign.identity == "file:///x"


def test_what_is_served_is_the_champion_of_a_registry_on_a_fresh_disk(runs):
    """Two machines may call different databases by the same address; one lacks what is served."""
    runs(RULES, right=360).push()
    runs.registered()
    assert not (runs.folder / "mlflow.db").exists()
    worse = judged(runs(RULES, name="b", right=120))
    assert not worse.blessed
    assert "a drop of" in worse.reasons[0]
