"""What the gate lets through, and what it remembers, on artifacts that nothing was trained for."""

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
from pipeline.serving import gate as gate_module
from pipeline.serving.gate import Gate, RunView
from pipeline.serving.rollback import roll_back
from pipeline.serving.served import Served
from pipeline.tracking.registry import Champion, find_champion, make_champion

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


class Runs:
    """Makes the gates of runs whose stages have all run: 320 of 400 answers were right."""

    def __init__(self, folder):
        self.base = files.resolve(folder / "serving" / "letters")
        self.served = Served(files.resolve(folder / "serving"), "letters")
        self.folder = folder
        self.config = folder / "pipeline.yaml"
        self.config.write_text(CONFIG.format(folder=folder))
        (folder / "train.tsv").write_text("text\tlabel\na\tb\n")
        self.made = {}
        self.measured = {}

    def __call__(self, *overrides, force=(), name="a", right=320, view=None):
        """The gate of a run.

        Args:
            overrides: of the configuration.
            force: stages that were asked for.
            name: of the weights.
            right: how many answers are right.
            view: what is to be different in what the gate sees.
        """
        if name not in self.made:
            evaluated = make_evaluation(self.folder / "runs", right, {"train model": name})
            read = {"train model": name, "evaluate predictions": evaluated.manifest.digests["predictions"]}
            exported = make_export(self.folder / "runs", name, read=read)
            self.made[name] = (exported, evaluated)
            self.measured[exported.manifest.digests["model"]] = evaluated
        exported, evaluated = self.made[name]
        seen = {
            "stages": ["ingest", "tokenize", "train", "evaluate", "export"],
            "exported": lambda: exported,
            "evaluated": lambda: evaluated,
            "measured_champion": lambda champion: self.measured.get(champion.digest),
        }
        config = load_config(self.config, overrides)
        return Gate(config, files.resolve(config.export.directory), RunView(**seen | (view or {})), force)

    def look(self):
        return self.served.look()

    def registered(self, number=1):
        """Has the registry have a version."""
        self.served.claims.mark(number, "registered", f"sqlite:///{self.folder}/mlflow.db")


@pytest.fixture
def gate(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    return Runs(tmp_path)


def silent(*arguments):
    raise UserError("MLflow does not answer")


def judged(gate):
    gate.ask()
    assert not gate.needs_measuring
    return gate.verdict()


def test_a_push_is_settled_once_it_is_registered(gate):
    first = gate()
    assert first.verdict().blessed
    assert (first.served, first.settled) == (None, False)
    assert first.push() == gate.base / "1"
    assert (gate().served, gate().settled) == (gate.base / "1", False)
    gate.registered()
    assert gate().settled
    assert gate("tracking.enabled=false").settled
    claim = gate.served.claims.of(1)
    assert (claim.content.model, claim.champion) == (model_id("a"), None)


def test_without_a_registry_a_push_is_settled_at_once(gate):
    gate("tracking.enabled=false").push()
    assert gate("tracking.enabled=false").settled
    assert gate.served.claims.of(1).tracking == ""


def test_another_registry_gets_the_model_too(gate, tmp_path):
    gate("tracking.enabled=false").push()
    assert gate().push() == gate.base / "1"
    assert gate.served.claims.registries(1) == [f"sqlite:///{tmp_path}/mlflow.db"]
    gate.registered()
    assert gate().settled
    moved = gate("tracking.uri=http://127.0.0.1:9")
    assert not moved.settled
    assert moved.push() == gate.base / "1"
    assert gate.served.claims.meant(1, "http://127.0.0.1:9")
    assert not moved.settled


def test_what_is_served_is_pushed_once(gate):
    gate().push()
    changed = "evaluate.bless=always"
    assert not gate(changed).settled
    assert gate(changed).push() == gate.base / "1"  # only its rules are noted
    gate.registered()
    assert gate(changed).settled
    assert gate().settled
    assert not gate("evaluate.bless={accuracy: {min: 0.6}}").settled


def test_a_run_that_stops_before_its_export_decides_nothing(gate):
    until = gate(view={"stages": ["ingest", "tokenize"], "exported": None, "evaluated": None})
    assert (until.decides, until.compares, until.served, until.settled) == (False, False, None, False)
    until.ask()
    assert not gate.base.parent.exists()


def test_what_is_served_is_the_champion_before_the_registry_knows_it(gate):
    """MLflow may be unreachable when a run ends; a worse model must not slip in before it answers."""
    first = gate(RULES)
    assert judged(first).blessed
    first.push()
    worse = judged(gate(RULES, name="b", right=120))
    assert not worse.blessed
    assert f"of {gate.base}/1 (served, but not registered): a drop of" in worse.reasons[0]
    again = judged(gate(RULES))
    assert again.blessed
    assert again.champion == f"{gate.base}/1 (served, but not registered), which is this model"


def test_a_champion_on_which_nothing_is_known_has_to_be_measured(gate, monkeypatch):
    gate(RULES).push()
    other = gate(RULES, name="b", right=360)
    gate.measured.clear()
    other.ask()
    assert other.needs_measuring
    assert other.champion.digest == gate.made["a"][0].manifest.digests["model"]
    # Nothing is loaded where the files are no SavedModel.
    assert other.fetch_champion(gate.folder) is None
    assert not other.needs_measuring
    verdict = other.verdict()
    assert not verdict.blessed
    assert f"the champion, {gate.base}/1 (served, but not registered), cannot be asked" in verdict.reasons[0]
    assert f"Remove {gate.base}/1, or bring another version back" in verdict.reasons[0]


def test_a_champion_whose_files_were_changed_is_not_measured(gate):
    gate(RULES).push()
    files.write(gate.base / "1" / "saved_model.pb", b"changed")
    gate.measured.clear()
    other = gate(RULES, name="b", right=360)
    other.ask()
    other.fetch_champion(gate.folder)
    assert "cannot be asked: saved_model.pb was changed after it was pushed" in other.verdict().reasons[0]


def test_a_champion_that_comes_while_a_run_goes_on_is_not_passed_over(gate):
    slow = gate(RULES, right=320)
    slow.ask()
    assert not slow.needs_measuring  # there is no champion
    assert slow.verdict().blessed
    quick = gate(RULES, name="b", right=360)
    assert judged(quick).blessed
    quick.push()
    assert slow.push() is None
    assert not slow.blessing.blessed
    assert "(served, but not registered): a drop of" in slow.blessing.reasons[0]
    # One that was measured nowhere has to be measured first.
    gate.measured.clear()
    verdict = slow.verdict()
    assert not verdict.blessed
    assert "which was not asked in this run. Run again to have it compared" in verdict.reasons[0]


def test_two_that_push_at_once_are_each_judged_in_sight_of_the_other(gate, monkeypatch):
    """Both have found that there is no champion; the worse one may be the first, but not the last."""
    better, worse = gate(RULES, right=360), gate(RULES, name="b", right=120)
    for each in (better, worse):
        each.ask()
        assert each.verdict().blessed
    barrier, claim = threading.Barrier(2), Served.claim

    def at_once(served, seen, wanted):
        if seen.highest == 0:
            barrier.wait(30)
        return claim(served, seen, wanted)

    monkeypatch.setattr(Served, "claim", at_once)
    with ThreadPoolExecutor(2) as threads:
        best, worst = threads.map(Gate.push, (better, worse))
    assert best is not None
    newest = gate.served.claims.of(gate.look().newest)
    assert newest.content.model == model_id("a")
    if worst is None:
        assert "a drop of" in worse.blessing.reasons[0]
    else:
        assert (worst, best) == (gate.base / "1", gate.base / "2")
        assert newest.champion["model"] == list(model_id("b"))


def test_what_is_served_is_looked_at_also_when_the_registry_has_gone(gate, monkeypatch):
    slow, quick = gate(RULES, right=120), gate(RULES, name="b", right=360)
    slow.ask()
    assert judged(quick).blessed
    quick.push()
    gate.registered()
    monkeypatch.setattr(gate_module, "find_champion", silent)
    assert not judged(slow).blessed


@pytest.mark.parametrize("elsewhere", ["tracking.enabled=false", "tracking.uri=sqlite:///other.db"])
def test_what_is_served_is_the_champion_wherever_it_is_registered(gate, elsewhere):
    gate(elsewhere, right=360).push()
    assert not judged(gate(RULES, name="b", right=120)).blessed


def test_a_model_that_is_exported_again_is_the_champion_once_it_is_there(gate):
    """Before, nobody knows what will come out."""
    gate(RULES).push()
    gate.measured.clear()
    exported = None
    again = gate(RULES, force=["export"], view={"exported": lambda: exported})
    again.ask()
    assert again.needs_measuring
    exported = make_export(gate.folder / "runs", "a", {"saved_model.pb": b"frozen by another library"})
    assert not again.needs_measuring
    assert judged(again).champion.endswith("which is this model")
    unforced = gate(RULES)
    unforced.ask()
    assert not unforced.needs_measuring


def test_figures_and_export_of_different_weights_are_not_put_together(gate):
    gate()
    for read in ({"train model": "other"}, {"evaluate predictions": "other"}):
        other = make_export(gate.folder / "runs", "a", read=read)
        verdict = gate(view={"exported": lambda found=other: found}).verdict()
        assert verdict.reasons == ["it was exported from other weights than were measured. Run again"]


def test_a_version_that_somebody_copied_there_does_not_hide_the_champion(gate, monkeypatch):
    better = gate(RULES, name="b", right=360)
    better.push()
    worse = gate(RULES, right=120)
    worse.ask()
    shutil.copytree(gate.base / "1", gate.base / "2", ignore=shutil.ignore_patterns("assets.extra"))
    monkeypatch.setattr(gate_module, "find_champion", silent)
    assert not judged(worse).blessed


def test_a_copy_of_a_version_is_known_by_its_note(gate):
    gate(RULES, name="b", right=360).push()
    shutil.copytree(gate.base / "1", gate.base / "5")
    assert gate(name="b").served == gate.base / "5"
    assert not judged(gate(RULES, right=120)).blessed
    assert gate("evaluate.bless=always").push() == gate.base / "6"


def test_a_registry_is_not_told_to_have_what_another_has(gate, tmp_path):
    gate("tracking.uri=http://user:secret@127.0.0.1:9").push()
    assert gate.served.claims.of(1).tracking == "http://127.0.0.1:9"  # what is served is for others to read
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
    make_champion(client, uri, run.info.run_id, gate.base / "1", "abc")
    assert not gate.served.claims.registered(1, "http://127.0.0.1:9")
    assert gate.served.claims.registered(1, uri)
    found = find_champion(uri, "letters")
    content = gate.served.claims.of(1).content
    assert (found.model, found.digest) == (content.model, content.digest)


def test_a_registry_that_goes_away_does_not_take_back_what_it_said(gate, monkeypatch):
    found = gate(RULES)
    found.ask()
    monkeypatch.setattr(gate_module, "find_champion", silent)
    assert judged(found).blessed


def test_the_same_model_with_other_files_is_pushed_as_another_version(gate):
    gate().push()
    assert gate().served == gate.base / "1"
    other = make_export(gate.folder / "runs", "a", {"saved_model.pb": b"other"})
    assert gate(view={"exported": lambda: other}).served is None
    assert gate(view={"exported": lambda: other}).push() == gate.base / "2"
    assert contents(gate.base / "2") == {"saved_model.pb": b"other"}


def test_what_is_asked_for_is_pushed_although_it_is_served(gate):
    gate().push()
    assert gate(force=["export"]).push() == gate.base / "2"


def test_a_model_that_was_changed_after_its_validation_is_not_pushed(gate):
    found = gate()
    path = gate.made["a"][0].saved_model() / "saved_model.pb"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(UserError, match=r"refused to push: .*saved_model.pb is not what was written"):
        found.push()
    assert not gate.base.exists()
    assert gate.look().highest == 0


def test_a_served_model_that_was_damaged_is_named_and_pushed_again(gate):
    gate().push()
    gate.registered()
    time.sleep(0.01)
    files.write(gate.base / "1" / "variables" / "variables.index", b"INDEX")
    again = gate()
    assert (again.served, again.settled) == (None, False)
    assert again.push() == gate.base / "2"
    assert again.warning == (
        f"{gate.base}/1: variables/variables.index was changed after it was pushed; the model is served as "
        "version 2 now"
    )
    assert gate().served == gate.base / "2"


def test_what_another_run_has_begun_to_push_is_completed_before_judging(gate, monkeypatch):
    quick = gate(RULES, right=360)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Served, "complete", killed)
        with pytest.raises(KeyboardInterrupt):
            quick.push()
    assert gate.look().newest is None
    assert not gate().settled
    assert not judged(gate(RULES, name="b", right=120)).blessed
    assert gate.look().newest == 1


def test_a_model_that_was_rolled_back_is_known_however_it_is_evaluated(gate):
    first, other = gate(), gate(name="b")
    other.push()
    first.push()
    assert roll_back(gate.base).source == 1
    for overrides in ([], ["evaluate.worst_examples=9"], ["evaluate.bless=always"]):
        verdict = gate(*overrides).verdict()
        assert not verdict.blessed
        assert "it was rolled back" in verdict.reasons[0]
    # However it was frozen.
    frozen = make_export(gate.folder / "runs", "a", {"saved_model.pb": b"other"})
    assert not gate(view={"exported": lambda: frozen}).verdict().blessed
    # A push of another model does not make it forgotten; its own does.
    assert gate(name="c").push() == gate.base / "4"
    assert not gate().verdict().blessed
    assert gate().push() is None
    forced = gate(force=["export"])
    assert forced.push() == gate.base / "5"
    assert gate().verdict().blessed
    assert gate.served.given_up(gate.look()) == ()


def test_two_runs_that_push_after_each_other_each_know_their_version(gate):
    one, other = gate(), gate(name="b")
    assert one.push() == gate.base / "1"
    assert other.push() == gate.base / "2"
    assert (one.served, other.served) == (gate.base / "1", gate.base / "2")
    assert gate().served is None  # for the newest is another


def test_versions_are_pruned_by_the_configuration(gate):
    gate(name="z")
    for _ in range(4):
        push(gate.made["z"][0].saved_model(), gate.base, "z")
    assert gate("export.keep_versions=2").push() == gate.base / "5"
    assert sorted(gate.look().versions) == [4, 5]


@pytest.mark.parametrize(
    ("bless", "blessed", "reasons"),
    [
        ("{accuracy: {min: 0.7}}", True, 1),
        ("{accuracy: {min: 0.9}}", False, 1),
        ("{accuracy: {min: 0.9, max_regression: 0.1}}", False, 3),
        ("{accuracy: {max_regression: 0.1}}", False, 2),
    ],
)
def test_a_registry_that_is_unreachable_decides_only_where_it_counts(gate, bless, blessed, reasons):
    found = gate(f"evaluate.bless={bless}", "tracking.uri=http://127.0.0.1:9")
    found.ask()
    assert not found.needs_measuring
    verdict = found.verdict()
    assert (verdict.blessed, len(verdict.reasons)) == (blessed, reasons)
    assert len(verdict.rules) == len(verdict.reasons)
    if "max_regression" in bless:
        assert "cannot be asked for the champion" in verdict.reasons[0]
        assert "Run again when it answers" in verdict.reasons[0]
        assert not any("no champion yet" in reason for reason in verdict.reasons)


def test_a_champion_in_the_registry_is_told_by_its_files_or_its_model(gate, monkeypatch):
    found = gate(RULES)
    exported = gate.made["a"][0]
    for champion in (
        Champion("version 3", None, exported.manifest.digests["model"], "file:///x", "uri"),
        Champion("version 3", exported.model_id, "other files", "file:///x", "uri"),
    ):
        monkeypatch.setattr(gate_module, "find_champion", lambda *_, found=champion: found)
        assert judged(found).champion == "version 3, which is this model"
    foreign = Champion("version 3", None, "", "file:///x", "uri")
    monkeypatch.setattr(gate_module, "find_champion", lambda *_: foreign)
    found.ask()
    assert found.needs_measuring
    assert foreign.identity == "file:///x"


def test_what_is_served_is_the_champion_of_a_registry_on_a_fresh_disk(gate):
    """Two machines may call different databases by the same address; one lacks what is served."""
    gate(RULES, right=360).push()
    gate.registered()
    assert not (gate.folder / "mlflow.db").exists()
    worse = judged(gate(RULES, name="b", right=120))
    assert not worse.blessed
    assert "a drop of" in worse.reasons[0]
