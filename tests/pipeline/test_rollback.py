"""Models that were served before are brought back, on a disk and in a remote serving directory."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from made_models import contents, make_export, model_id, push
from mlflow import MlflowClient
from typer.testing import CliRunner

from components import files
from components.errors import UserError
from pipeline.cli import app
from pipeline.serving import rollback
from pipeline.serving.claims import Claims, described
from pipeline.serving.rollback import roll_back
from pipeline.serving.served import Served
from pipeline.serving.versions import remove
from pipeline.tracking.champion import find_champion
from pipeline.tracking.registry import log_model, make_champion, register


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def models(tmp_path):
    """SavedModels by name, and a function that pushes one."""

    def model(name):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_text(f"graph {name}")
        return folder

    return model


@pytest.fixture(params=["disk", "memory"])
def base(request, tmp_path, models):
    place = tmp_path / "serving" if request.param == "disk" else f"memory://{uuid.uuid4().hex}/serving"
    base = files.resolve(place) / "name"
    for name in ("a", "b", "b"):
        push(models(name), base, name)
    return base


def served(base):
    return Served(base.parent, base.name)


def given_up(base):
    found = served(base)
    return [each.weights.removesuffix("weights") for each in found.given_up(found.look())]


def test_the_last_other_model_is_brought_back(base):
    done = roll_back(base)
    assert (done.old, done.source, done.directory) == (3, 1, base / "4")
    assert contents(base / "4") == contents(base / "1") == {"saved_model.pb": b"graph a"}
    claim = served(base).claims.of(4)
    assert (claim.content.model, claim.brings_back, given_up(base)) == (model_id("a"), 1, ["b"])
    assert done.registry == "it is in no registry"
    # What was rolled back is not what one goes back to; it can be named.
    with pytest.raises(UserError, match="no other model than the one that is served and those that were"):
        roll_back(base)
    assert roll_back(base, 3).source == 3
    assert served(base).claims.of(5).content.model == model_id("b")
    assert given_up(base) == ["a"]


def test_the_command_brings_a_model_back(tmp_path, models):
    base = files.resolve(tmp_path / "serving" / "name")
    for name in ("a", "b", "b"):
        push(models(name), base, name)
    done = CliRunner().invoke(app, ["rollback", "name", "--directory", str(base.parent)])
    assert done.exit_code == 0, done.output
    assert f"version 1 is served again, as {base}/4, in place of version 3" in done.output
    assert "it is in no registry" in done.output
    assert served(base).claims.of(4).content.model == model_id("a")
    done = CliRunner().invoke(app, ["rollback", str(base), "--version", "2"])
    assert done.exit_code == 0, done.output
    assert served(base).claims.of(5).content.model == model_id("b")


def test_rolling_back_twice_goes_further_back(base, models):
    for name in ("c", "d"):
        push(models(name), base, name)
    assert roll_back(base).source == 4  # from d to c
    assert roll_back(base).source == 3  # and not to d again, but to b
    assert roll_back(base).source == 1
    assert served(base).look().newest == 8
    assert given_up(base) == ["b", "c", "d"]


def test_a_model_of_which_nothing_is_known_can_be_brought_back(base):
    files.write(base / "8" / "saved_model.pb", b"by hand")
    assert roll_back(base).source == 3  # and what was there by hand is no model that could be given up
    assert given_up(base) == []
    assert roll_back(base).source == 8
    assert contents(base / "10") == {"saved_model.pb": b"by hand"}
    assert given_up(base) == ["b"]


def test_of_a_push_and_a_rollback_at_once_the_later_sees_the_earlier(tmp_path, models, monkeypatch):
    """On a disk: memory:// itself is not made for several threads."""
    base = files.resolve(tmp_path / "serving" / "name")
    for name in ("a", "b", "b"):
        push(models(name), base, name)
    exported = make_export(tmp_path / "runs", "c")
    barrier, claim = threading.Barrier(2), Served.claim

    def at_once(served, seen, wanted):
        if seen.highest == 3:
            barrier.wait(30)
        return claim(served, seen, wanted)

    monkeypatch.setattr(Served, "claim", at_once)
    artifact = described(exported.reference)
    with ThreadPoolExecutor(2) as threads:
        pushing = threads.submit(push, exported.saved_model(), base, "c", artifact=artifact)
        done = threads.submit(roll_back, base).result(60)
        pushed = pushing.result(60)
    assert {int(done.directory.name), pushed} == {4, 5}
    if pushed == 4:  # what was pushed meanwhile is what gave way, to the one before it
        assert (done.old, done.source, given_up(base)) == (4, 3, ["c"])
    else:
        assert (done.old, done.source, given_up(base)) == (3, 1, ["b"])


def test_a_rollback_that_was_killed_is_completed_by_the_next(base, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Served, "complete", killed)
        with pytest.raises(KeyboardInterrupt):
            roll_back(base)
    assert served(base).look().newest == 3
    assert served(base).complete_unfinished().newest == 4
    assert contents(base / "4") == {"saved_model.pb": b"graph a"}
    assert given_up(base) == ["b"]


class Killed(BaseException):
    """The process is gone; nobody catches it."""


def dies(*arguments, **named):
    raise Killed


@pytest.mark.parametrize(
    ("step", "version"),
    [*((step, None) for step in ("claim", "complete", "alias", "registered", "told")), ("alias", 3)],
)
def test_a_rollback_that_was_killed_at_any_step_goes_back_one_model_when_it_is_repeated(
    base, models, uri, tmp_path, monkeypatch, step, version
):
    push(models("c"), base, "c")  # 4, after a, b, b
    found, client = served(base), MlflowClient(uri)
    run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
    for number, name in ((1, "a"), (3, "b"), (4, "c")):
        registered_model = log_model(client, run.info.run_id, "name", models(name), "hello")
        register(client, "name", found.claims.of(number).content, registered_model, run.info.run_id)
        found.claims.mark(number, "meant", uri)
    with monkeypatch.context() as patched:
        if step == "claim":
            patched.setattr(Served, "complete", dies)
        elif step == "complete":
            patched.setattr(rollback, "open_client", dies)
        elif step == "alias":
            patched.setattr(MlflowClient, "set_registered_model_alias", dies)
        elif step == "registered":
            patched.setattr(Claims, "registered", dies)
            patched.setattr(Claims, "mark", dies)
        with pytest.raises(Killed):
            roll_back(base, version, tell=dies)
    done = roll_back(base, version)
    assert (done.old, done.source, done.directory) == (4, 3, base / "5")
    assert served(base).look().newest == 5
    assert given_up(base) == ["c"]
    assert find_champion(uri, "name").model == model_id("b")
    assert served(base).claims.registered(5, uri)
    done = roll_back(base)  # this is another one, and goes further back
    assert (done.old, done.source, done.directory) == (5, 1, base / "6")
    assert find_champion(uri, "name").model == model_id("a")


def test_what_is_brought_back_already_only_moves_the_alias(base):
    assert roll_back(base, 2) == roll_back(base, 2)
    assert served(base).look().highest == 4


def test_a_rollback_whose_files_were_damaged_is_repeated_from_the_same_version(base):
    with pytest.raises(Killed):
        roll_back(base, tell=dies)
    files.write(base / "4" / "saved_model.pb", b"graph A!")
    done = roll_back(base)
    assert (done.source, done.directory) == (1, base / "5")
    assert contents(base / "5") == {"saved_model.pb": b"graph a"}


def test_the_alias_stays_at_what_is_pushed_while_a_model_is_brought_back(
    base, models, uri, tmp_path, monkeypatch
):
    found, client = served(base), MlflowClient(uri)
    run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
    for number, name in ((1, "a"), (3, "b")):
        logged = log_model(client, run.info.run_id, "name", models(name), "hello")
        register(client, "name", found.claims.of(number).content, logged, run.info.run_id)
        found.claims.mark(number, "meant", uri)
    set_alias = MlflowClient.set_registered_model_alias

    def late(client, name, alias, version):
        """A run pushes and registers c, and gives it the alias, just before."""
        patched.setattr(MlflowClient, "set_registered_model_alias", set_alias)
        assert push(models("c"), base, "c", tracking=uri) == 5
        make_champion(client, uri, run.info.run_id, str(base / "5"), "hello")
        set_alias(client, name, alias, version)

    with monkeypatch.context() as patched:
        patched.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
        patched.setattr(MlflowClient, "set_registered_model_alias", late)
        assert roll_back(base).registry == "version 3 is the champion in MLflow"
    assert find_champion(uri, "name").model == model_id("c")


def test_a_version_can_be_named(base):
    assert roll_back(base, 2).source == 2
    for version in (4, 9):
        with pytest.raises(
            UserError, match=rf"received version {version}; expected an earlier one of .*: 1, 2, 3"
        ):
            roll_back(base, version)


def test_without_another_model_nothing_can_be_brought_back(base, tmp_path):
    remove(base / "1")
    with pytest.raises(UserError, match="holds no other model than the one that is served"):
        roll_back(base)
    with pytest.raises(UserError, match="holds no version of a model; expected the directory"):
        roll_back(tmp_path / "nowhere")


def test_a_damaged_version_is_not_brought_back(base):
    files.write(base / "1" / "saved_model.pb", b"graph A!")
    with pytest.raises(UserError, match=r"name/1 is damaged: saved_model.pb was changed after it was pushed"):
        roll_back(base)
    assert served(base).look().highest == 3


def test_a_registry_that_is_unreachable_does_not_keep_a_version_from_coming_back(base, models):
    push(models("a"), base, "a", tracking="http://user:secret@127.0.0.1:9")
    push(models("c"), base, "c")
    done = roll_back(base)
    assert done.source == 4
    assert done.registry.startswith("MLflow at http://127.0.0.1:9 could not be updated (")
    assert done.registry.endswith("or when it answers: rnnpipe rollback name --version 4")
    found = served(base)
    assert not found.claims.registered(6, "http://user:secret@127.0.0.1:9")


def test_the_alias_moves_in_every_registry_that_has_the_model(base, models, tmp_path):
    """And where the registry has no version of it, that is said."""
    uris = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two")]
    found = served(base)
    for uri in uris:
        client = MlflowClient(uri)
        run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
        model_id = log_model(client, run.info.run_id, "name", models("a"), "hello")
        register(client, "name", found.claims.of(1).content, model_id, run.info.run_id)
        found.claims.mark(1, "meant", uri)
    done = roll_back(base)
    assert done.registry == "; ".join(["version 1 is the champion in MLflow"] * 2)
    for uri in uris:
        champion = find_champion(uri, "name")
        assert (champion.model, champion.title) == (found.claims.of(1).content.model, "version 1")
        assert found.claims.registered(4, uri)
    found.claims.mark(3, "meant", uris[0])
    assert "has no version of it, and the alias stays where it was" in roll_back(base, 3).registry
