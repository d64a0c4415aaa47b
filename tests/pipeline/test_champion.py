"""Models that follow one another: registered, compared on the same examples, pushed, and brought back."""

import json
import shutil

import pytest
import tiny
from mlflow import MlflowClient

from components.errors import UserError
from components.export.push import Note, push, read_note, versions
from pipeline.records import read_records
from pipeline.registry import find_champion
from pipeline.rollback import roll_back

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

    # While the registry cannot be asked nothing is pushed.
    code, said = tiny.run(config, RULES, WEAK, "tracking.uri=http://127.0.0.1:9")
    assert code == 3
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
    assert (champion(tmp_path), max(versions(serving))) == (2, 4)

    # Elsewhere, without what earlier runs left, the champion of the registry is measured in the same job.
    code, said = tiny.run(config, RULES, WEAK, f"root={tmp_path}/elsewhere")
    assert code == 3
    assert "\nchampion  version 2, on the same examples" in said
    (record,) = read_records(tmp_path / "elsewhere")
    assert "of version 2: a drop of" in record.blessing["reasons"][0]
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
    assert "the champion, version 2 in MLflow's registry, holds no artifacts/model/saved_model.pb" in said


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
        push(model, tmp_path / "serving" / "name", Note(key))
    return tmp_path / "serving" / "name"


def test_the_last_other_model_is_brought_back(base):
    done = roll_back(base)
    assert (done.old, done.source, done.directory.name) == (3, 1, "4")
    assert read_note(base, 4) == Note("a", rolled_back=("b",))
    assert done.registry == "it is in no registry"
    # Going on from there leads back, and forgets nothing but the one that is served.
    assert roll_back(base).source == 3
    assert read_note(base, 5) == Note("b", rolled_back=("a",))


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
    push(base / "2", base, Note("c"))
    done = roll_back(base)
    assert done.source == 4
    assert done.registry.startswith("MLflow at http://127.0.0.1:9 could not be told (")
