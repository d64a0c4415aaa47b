"""Models that follow one another: registered, compared on the same examples, pushed, and brought back."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorflow as tf
import tiny
from mlflow import MlflowClient
from typer.testing import CliRunner

from components.errors import UserError
from components.export.push import Note, push, pushing, read_note, versions
from components.export.saved_model import export_saved_model
from pipeline.cli import app
from pipeline.run.record import read_records
from pipeline.serving.rollback import roll_back
from pipeline.tracking.registry import KEY, MODEL, crown, find_champion, log_model, register, registered

RULES = "evaluate.bless={accuracy: {max_drop: 0.02}}"
WEAK = "train.optimizer={type: adam, learning_rate: 0.000001}"


def champion(folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return int(client.get_model_version_by_alias("letters", "champion").version)


def test_a_champion_gives_way_to_a_better_model_only_and_can_be_brought_back(tmp_path):
    config = tiny.make(tmp_path)
    serving = tmp_path / "serving" / "letters"

    code, said = tiny.run(config, RULES, WEAK)
    assert code == 0, said
    (record,) = read_records(tmp_path / "runs")
    assert record.blessing["reasons"] == ["accuracy: no champion yet (max_drop)"]
    assert champion(tmp_path) == 1

    code, said = tiny.run(config, RULES)
    assert code == 0, said
    record = read_records(tmp_path / "runs")[-1]
    assert "of version 1: no drop (max_drop), in 100 % of the resamples" in record.blessing["reasons"][0]
    assert record.blessing["champion"] == "version 1"
    assert champion(tmp_path) == 2
    assert sorted(versions(serving)) == [1, 2]

    # The weak one is known, and so is what the champion says to these examples: nothing has to run.
    code, said = tiny.run(config, RULES, WEAK)
    assert code == 3
    assert "nothing to do" in said
    assert "not pushed   accuracy" in said
    assert "of version 2: a drop of" in said
    assert "> 0.02 (max_drop): fails by" in said
    assert (champion(tmp_path), sorted(versions(serving))) == (2, [1, 2])
    assert len(read_records(tmp_path / "runs")) == 2

    # A changed rule is judged without anything being evaluated, and only once.
    for said_before in (2, 3, 3):
        code, said = tiny.run(config, "evaluate.bless={accuracy: {min: 0.9}}")
        assert code == 0
        assert len(read_records(tmp_path / "runs")) == min(said_before + 1, 3)
    assert sorted(versions(serving)) == [1, 2]

    # While the registry cannot be asked nothing is pushed.
    code, said = tiny.run(config, RULES, WEAK, "tracking.uri=http://127.0.0.1:9")
    assert code == 3
    assert "accuracy: not compared (max_drop)" in said
    assert "MLflow at http://127.0.0.1:9 cannot be asked for the champion" in said
    assert "Run again when it answers" in said

    done = roll_back(serving)
    assert (done.old, done.source, done.directory) == (2, 1, serving / "3")
    assert done.registry == "version 1 is the champion in MLflow"
    assert champion(tmp_path) == 1
    code, said = tiny.run(config, RULES)
    assert code == 3
    assert "it was rolled back" in said
    code, said = tiny.run(config, RULES, force=["export"])
    assert code == 0, said
    assert (champion(tmp_path), max(versions(serving))) == (3, 4)  # made anew, it is another version

    # Elsewhere, without what earlier runs left, the champion of the registry is measured in the same job.
    code, said = tiny.run(config, RULES, WEAK, f"root={tmp_path}/elsewhere")
    assert code == 3
    assert "\nchampion  version 3, on the same examples" in said
    (record,) = read_records(tmp_path / "elsewhere")
    assert "of version 3: a drop of" in record.blessing["reasons"][0]
    page = (tmp_path / "elsewhere" / "runs" / f"{record.id}.html").read_text(encoding="utf-8")
    assert "version 3, on the same examples" in page
    measured = next((tmp_path / "elsewhere" / "artifacts" / "champion").iterdir())
    by_champion = [
        json.loads(line) for line in (measured / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert sum(row["correct"] for row in by_champion) > 35
    code, said = tiny.run(config, RULES, WEAK, f"root={tmp_path}/elsewhere")
    assert code == 3
    assert "nothing to do" in said

    # Files of the champion that are gone are no reason to push, and are told.
    shutil.rmtree(tmp_path / "mlartifacts")
    code, said = tiny.run(config, RULES, WEAK, f"root={tmp_path}/elsewhere", "evaluate.resamples=500")
    assert code == 3
    assert "the champion, version 3 in MLflow's registry, holds no artifacts/model/saved_model.pb" in said
    record = read_records(tmp_path / "elsewhere")[-1]
    page = (tmp_path / "elsewhere" / "runs" / f"{record.id}.html").read_text(encoding="utf-8")
    assert "holds no artifacts/model" in page


@pytest.fixture
def foreign(tmp_path):
    """A champion that nobody here registered, in a folder with a space and a letter that is not ASCII."""

    def make(function):
        folder = tmp_path / "größer als" / "artifacts"
        export_saved_model({"serving_default": function}, [], str(folder / "model"))
        client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
        client.create_registered_model("letters")
        version = client.create_model_version("letters", folder.parent.as_uri())
        client.set_registered_model_alias("letters", "champion", version.version)
        return find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters")

    return make


def test_a_champion_is_found_wherever_it_is(foreign, tmp_path):
    def shout(text):
        return {"prediction": tf.strings.upper(text), "score": tf.cast(tf.strings.length(text), tf.float32)}

    found = foreign(shout)
    assert (found.title, found.key, found.model) == ("version 1", "", "")
    assert found.fetch(tmp_path / "copy") == tmp_path / "größer als" / "artifacts" / "model"


def test_a_champion_of_another_kind_is_told_before_anything_runs(foreign, tmp_path):
    found = foreign(lambda text: {"label": tf.strings.upper(text)})
    with pytest.raises(UserError, match=r"cannot be asked: it takes \['text'\] and gives .*Move the alias"):
        found.fetch(tmp_path / "copy")


@pytest.mark.parametrize("name", ["letters", "letters.v2"])
def test_any_name_of_a_pipeline_can_be_registered(tmp_path, name):
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    model_id = log_model(client, run.info.run_id, name, model, "hello")
    version = register(client, name, {KEY: "k", MODEL: "m"}, model_id, run.info.run_id)
    crown(client, name, version.version)
    found = find_champion(f"sqlite:///{tmp_path}/mlflow.db", name)
    assert (found.key, found.model) == ("k", "m")
    assert registered(client, name, "k").version == version.version


def test_there_is_no_champion_where_nothing_was_registered(tmp_path):
    assert find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters") is None
    assert not (tmp_path / "mlflow.db").exists()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters") is None
    client.create_registered_model("letters")
    assert find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters") is None


def test_a_broken_database_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(
        UserError, match=r"mlflow\.db cannot be asked for the champion: file is not a database"
    ):
        find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters")


@pytest.fixture
def base(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    for key in ("a", "b", "b"):
        push(model, tmp_path / "serving" / "name", Note(key, key))
    return tmp_path / "serving" / "name"


def test_the_last_other_model_is_brought_back(base):
    done = roll_back(base)
    assert (done.old, done.source, done.directory.name) == (3, 1, "4")
    assert read_note(base, 4) == Note("a", "a", rolled_back=("b",))
    assert done.registry == "it is in no registry"
    # What was rolled back is not what one goes back to; it can be named.
    with pytest.raises(UserError, match="no other model than the one that is served and those that were"):
        roll_back(base)
    assert roll_back(base, 3).source == 3
    assert read_note(base, 5) == Note("b", "b", rolled_back=("a",))


def test_the_command_brings_a_model_back(base):
    done = CliRunner().invoke(app, ["rollback", "name", "--directory", str(base.parent)])
    assert done.exit_code == 0, done.output
    assert f"version 1 is served again, as {base}/4, in place of version 3" in done.output
    assert "it is in no registry" in done.output
    assert read_note(base, 4).key == "a"
    done = CliRunner().invoke(app, ["rollback", str(base), "--version", "2"])
    assert done.exit_code == 0, done.output
    assert read_note(base, 5).key == "b"


def test_rolling_back_twice_goes_further_back(base):
    for key in ("c", "d"):
        push(base / "1", base, Note(key, key))
    assert roll_back(base).source == 4  # from d to c
    assert roll_back(base).source == 3  # and not to d again, but to b
    assert roll_back(base).source == 1
    assert read_note(base, 8).rolled_back == ("b", "c", "d")


def test_a_model_that_was_made_anew_can_go_back_to_itself(base):
    """And what was given up is neither gone back to, nor pushed again, although it is the same model."""
    push(base / "1", base, Note("b", "b", weights="good"))
    push(base / "1", base, Note("b", "b", weights="bad"))
    done = roll_back(base)
    assert done.source == 4
    assert read_note(base, 6) == Note("b", "b", weights="good", rolled_back=("bad",))
    assert roll_back(base).source == 1
    assert read_note(base, 7) == Note("a", "a", rolled_back=("b", "bad"))


def test_a_rollback_waits_for_a_push(base):
    with ThreadPoolExecutor(1) as thread:
        with pushing(base):
            done = thread.submit(roll_back, base)
            with pytest.raises(TimeoutError):
                done.result(0.3)
            push(base / "1", base, Note("c", "c", rolled_back=("z",)))
        assert done.result(30).old == 4
    assert read_note(base, 5).rolled_back == ("c", "z")  # what was pushed meanwhile is what gave way


def test_versions_of_before_models_had_a_name_are_told_by_their_keys(base):
    for key in ("x", "y", "z"):
        push(base / "1", base, Note(key))
    assert roll_back(base).source == 5
    assert roll_back(base).source == 4
    assert read_note(base, 8).rolled_back == ("y", "z")


def test_a_version_can_be_named(base):
    assert roll_back(base, 2).source == 2
    for version in (4, 9):
        with pytest.raises(
            UserError, match=rf"received version {version}; expected an earlier one of .*: 1, 2, 3"
        ):
            roll_back(base, version)


def test_without_another_model_nothing_can_be_brought_back(base, tmp_path):
    shutil.rmtree(base / "1")
    with pytest.raises(UserError, match="holds no other model than the one that is served"):
        roll_back(base)
    with pytest.raises(UserError, match="holds no version of a model; expected the directory"):
        roll_back(tmp_path / "nowhere")


def test_a_registry_that_is_away_does_not_keep_a_version_from_coming_back(base):
    note = read_note(base, 1)._replace(tracking="http://user:secret@127.0.0.1:9")
    push(base / "1", base, note)
    push(base / "2", base, Note("c", "c"))
    done = roll_back(base)
    assert done.source == 4
    assert done.registry.startswith("MLflow at http://127.0.0.1:9 could not be told (")
    assert done.registry.endswith("or when it answers: rnnpipe rollback name --version 4")
    assert not read_note(base, 6).registered
