"""Models that follow one another: registered, compared on the same examples, pushed, and brought back."""

import shutil

import pytest
import tensorflow as tf
import tiny
from made_models import content_of, push
from mlflow import MlflowClient

from components import files
from components.artifacts.evaluation import Evaluation
from components.errors import UserError
from components.export.saved_model import export_saved_model
from pipeline.config.name_checks import LONGEST_NAME
from pipeline.run import observe
from pipeline.run.folder import RunFolder
from pipeline.serving.rollback import roll_back
from pipeline.serving.served import Served
from pipeline.serving.versions import versions
from pipeline.tracking.champion import find_champion
from pipeline.tracking.registry import (
    CHAMPION,
    log_model,
    make_champion,
    register,
    registered,
)


def page_of(root, record):
    return files.read(RunFolder(files.resolve(root), record.id).card).decode()


RULES = "evaluate.bless={accuracy: {max_regression: 0.02}}"
WEAK = "train.optimizer={type: adam, learning_rate: 0.000001}"


def read_records(root):
    return observe.read_records(files.resolve(root))


def champion(folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return int(client.get_model_version_by_alias("letters", "champion").version)


def test_a_champion_gives_way_to_a_better_model_only_and_can_be_brought_back(tmp_path):
    config = tiny.make(tmp_path)
    serving = files.resolve(tmp_path / "serving" / "letters")

    code, said = tiny.run(config, RULES, WEAK)
    assert code == 0, said
    (record,) = read_records(tmp_path / "runs")
    assert record.verdict["reasons"] == ["accuracy: no champion yet (max_regression)"]
    assert "pushed       version 1: measured on 40 examples; no champion yet" in said
    assert champion(tmp_path) == 1

    code, said = tiny.run(config, RULES)
    assert code == 0, said
    record = read_records(tmp_path / "runs")[-1]
    assert "of version 1: no drop (max_regression), in 100 % of the resamples" in record.verdict["reasons"][0]
    assert record.verdict["champion"] == "version 1"
    assert "pushed       version 2: measured on 40 examples; champion 1: accuracy +" in said
    assert champion(tmp_path) == 2
    assert sorted(versions(serving)) == [1, 2]

    # The weak one is known, and so is what the champion says to these examples: nothing has to run.
    code, said = tiny.run(config, RULES, WEAK)
    assert code == 3
    assert "nothing to do" in said
    assert "not pushed   accuracy" in said
    assert "of version 2: a drop of" in said
    assert "> 0.02 (max_regression): fails by" in said
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
    assert "accuracy: not compared (max_regression)" in said
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
    assert (champion(tmp_path), max(versions(serving))) == (3, 4)  # exported again, it may be another version

    # Elsewhere, without what earlier runs left, the champion of the registry is measured in the same job.
    code, said = tiny.run(config, RULES, WEAK, f"root={tmp_path}/elsewhere")
    assert code == 3
    assert "\nevaluate champion version 3, on the same examples" in said
    (record,) = read_records(tmp_path / "elsewhere")
    assert "of version 3: a drop of" in record.verdict["reasons"][0]
    assert "version 3, on the same examples" in page_of(tmp_path / "elsewhere", record)
    assert [node.trials for node in record.nodes.values()] == [("1",)] * 5 + [()]
    reference = record.nodes["evaluate champion"].reference
    assert sum(row["correct"] for row in Evaluation.load(reference).predictions()) > 35
    assert record.metrics == Evaluation.load(record.nodes["evaluate"].reference).summary["metrics"]
    code, said = tiny.run(config, RULES, WEAK, f"root={tmp_path}/elsewhere")
    assert code == 3
    assert "nothing to do" in said

    # Files of the champion that are gone are no reason to push, and are told.
    shutil.rmtree(tmp_path / "mlartifacts")
    code, said = tiny.run(config, RULES, WEAK, f"root={tmp_path}/elsewhere", "evaluate.resamples=500")
    assert code == 3
    assert "the champion, version 3 in MLflow's registry, holds no artifacts/model/saved_model.pb" in said
    record = read_records(tmp_path / "elsewhere")[-1]
    assert "holds no artifacts/model" in page_of(tmp_path / "elsewhere", record)


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
    assert (found.title, found.model, found.digest) == ("version 1", None, "")
    assert found.fetch(tmp_path / "copy") == tmp_path / "größer als" / "artifacts" / "model"


def test_a_champion_of_another_kind_is_told_before_anything_runs(foreign, tmp_path):
    found = foreign(lambda text: {"label": tf.strings.upper(text)})
    with pytest.raises(UserError, match=r"cannot be asked: it takes \['text'\] and gives .*Move the alias"):
        found.fetch(tmp_path / "copy")


@pytest.mark.parametrize("name", ["letters", "letters.v2", "x" * LONGEST_NAME])
def test_any_name_of_a_pipeline_can_be_registered(tmp_path, name):
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    model_id = log_model(client, run.info.run_id, name, model, "hello")
    content = content_of(model, "m")
    version = register(client, name, content, model_id, run.info.run_id)
    client.set_registered_model_alias(name, CHAMPION, version.version)
    found = find_champion(f"sqlite:///{tmp_path}/mlflow.db", name)
    assert (found.model, found.digest) == (content.model, content.digest)
    assert registered(client, name, content.digest).version == version.version
    assert registered(client, name, "another") is None


def test_registering_may_be_repeated_and_an_older_version_gets_no_alias(tmp_path, monkeypatch):
    """Also of a model that is served from elsewhere."""
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("e", (tmp_path / "files").as_uri()))
    model = tmp_path / "model"
    model.mkdir()
    base = files.resolve(f"memory://{tmp_path.name}/serving/letters")
    for name in "ab":
        (model / "saved_model.pb").write_text(name)
        push(model, base, name)
    for number in (2, 2, 1):
        make_champion(client, uri, run.info.run_id, str(base / str(number)), "hello")
        assert find_champion(uri, "letters").title == "version 1"
    assert len(client.search_model_versions("name = 'letters'")) == 2
    assert find_champion(uri, "letters").model == content_of(model, "b").model
    served = Served(base.parent, "letters")
    assert [served.claims.registered(number, uri) for number in (1, 2)] == [True, True]
    make_champion(client, uri, run.info.run_id, str(base / "3"), "hello")  # which is not there


def test_there_is_no_champion_where_nothing_was_registered(tmp_path):
    assert find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters") is None
    assert not (tmp_path / "mlflow.db").exists()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters") is None
    client.create_registered_model("letters")
    assert find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters") is None


def test_a_broken_database_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db cannot be read: file is not a database"):
        find_champion(f"sqlite:///{tmp_path}/mlflow.db", "letters")
