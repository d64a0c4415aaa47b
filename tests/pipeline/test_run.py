"""Whole runs, of a pipeline small enough for a test."""

import errno
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from components import disks, files
from components.evaluate.metrics import metric_names
from components.tokenize import encode
from components.work import Attempt
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.run import launch
from pipeline.run.folder import RunFolder
from pipeline.run.observe import read_records
from pipeline.serving.deployment import Deployment
from pipeline.store.store import Store
from pipeline.tracking.registry import DIGEST

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished classification run, and what it said."""
    folder = tmp_path_factory.mktemp("trained")
    code, said = tiny.run(tiny.make(folder))
    assert code == 0, said
    return folder, said


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the finished run that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    (folder / "pipeline.yaml").write_text(tiny.CLASSIFICATION.format(folder=folder), encoding="utf-8")
    return folder


def planned(config):
    """The plan, and the store that it was made for."""
    places = Places.of(config)
    store = Store(places.root)
    return make_plan(config, places, store), store


def artifacts(folder, *overrides):
    """The artifacts that a run would reuse, by stage; whole ones."""
    plans, store = planned(load_config(folder / "pipeline.yaml", overrides))
    found = {plan.name: plan.artifact for plan in plans}
    assert not any(store.damage(artifact, thorough=True) for artifact in found.values() if artifact)
    return found


def records(folder):
    """What is known of the runs in a folder."""
    return read_records(files.resolve(folder / "runs"))


def test_a_run_ends_with_a_summary_of_what_to_do_next(trained):
    folder, said = trained
    for stage in ("ingest", "tokenize", "train", "evaluate", "export"):
        assert f"\n{stage} " in f"\n{said}"
    assert "200 train, 40 validation, 40 test; 0 rejected" in said
    assert "epoch 2/2  loss" in said
    assert re.search(
        r"^ +on [CG]PU: .+, \d+ threads within operations and \d+ between them$", said, re.MULTILINE
    )
    assert f"model        {folder}/serving/letters/1" in said
    assert f" predict {folder}/serving/letters" in said
    assert f" ui {folder}/pipeline.yaml" in said
    assert f" compare --root {folder}/runs" in said
    (record,) = records(folder)
    assert f"card         {folder}/runs/runs/{record.id}/card.html" in said
    card = (folder / "runs" / "runs" / record.id / "card.html").read_text(encoding="utf-8")
    assert f"train: on {record.nodes['train'].summary['device']}, " in html.unescape(card)


def test_every_stage_leaves_its_files(trained):
    found = artifacts(trained[0])
    names = {name: set(artifact.names()) for name, artifact in found.items()}
    assert {"statistics.json", "rejected.jsonl", "examples/train-00000.parquet"} <= names["ingest"]
    assert {"tokenizer/labels.txt", "tokens/test-00000.parquet"} <= names["tokenize"]
    assert {"model.keras", "history.json", "checkpoint", "plots/training_curves.png"} == names["train"]
    evaluated = {"metrics.json", "resampled.npy", "predictions.jsonl", "worst.jsonl", "plots/by_length.png"}
    assert evaluated <= names["evaluate"]
    assert {"model/saved_model.pb", "validation.json"} <= names["export"]


def test_the_record_and_mlflow_know_the_run(trained):
    folder, _ = trained
    (record,) = records(folder)
    assert record.status == "finished"
    assert record.node("train").epochs == 2
    assert all(node.state == "finished" and node.seconds >= 0 for node in record.nodes.values())
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.get_run(record.tracking["run"])
    assert run.info.status == "FINISHED"
    assert run.data.params["model.encoder.units"] == "8"
    assert run.data.metrics["test/accuracy"] == record.metrics["accuracy"]
    assert run.data.metrics["seconds.train"] > 0
    assert run.data.tags["key.train"] == record.nodes["train"].key
    assert run.data.tags["device"].startswith(("CPU: ", "GPU: "))
    assert int(run.data.tags["threads.intra_op"]) >= 1 <= int(run.data.tags["threads.inter_op"])
    assert "rnnpipe.version" in run.data.tags or "mlflow.source.git.commit" in run.data.tags
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2]
    assert run.info.run_name == f"gru {record.id}"
    assert run.data.params["encoder"] == "gru"
    assert {"pipeline.yaml", "card.html"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    (trial,) = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    pictures = {file.path for file in client.list_artifacts(trial.info.run_id, "plots")}
    assert {"plots/training_curves.png", "plots/confusion_matrix.png"} <= pictures


@pytest.fixture(scope="module")
def champion(trained):
    """The pyfunc model of the registry, as anybody would load it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained[0]}/mlflow.db")
        yield mlflow.pyfunc.load_model("models:/letters@champion")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=50, max_size=50))
def test_the_registered_model_has_a_defined_answer_to_any_text(champion, texts):
    found = champion.predict(pd.DataFrame({"text": texts}))
    assert len(found) == 50
    assert set(found["prediction"]) <= {"a", "b", "c"}
    assert found["score"].between(0, 1).all()


def test_a_second_run_reuses_everything_and_imports_nothing_heavy(trained):
    folder, _ = trained
    listed = (folder / "serving" / "models.config").read_text()
    (folder / "serving" / "models.config").unlink()  # as if the run had been killed right after its push
    program = (
        "import sys; sys.argv = ['rnnpipe', 'run', sys.argv[1]]\n"
        "from pipeline.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'tensorflow', 'keras', 'apache_beam', 'mlflow', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder / "pipeline.yaml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing to do, all 5 stages are reused" in done.stdout
    assert f"model        {folder}/serving/letters/1" in done.stdout
    assert (folder / "serving" / "models.config").read_text() == listed
    assert len(records(folder)) == 1


def test_more_epochs_reuse_the_data_and_are_pushed_as_the_next_version(copy):
    code, said = tiny.run(copy / "pipeline.yaml", "train.epochs=3")
    assert code == 0, said
    assert "train.epochs: 2 -> 3" in said
    assert ran(copy) == ["train", "evaluate", "export"]
    assert (copy / "serving/letters/2/saved_model.pb").is_file()
    # Going back serves the first model again, though nothing has to be computed.
    code, said = tiny.run(copy / "pipeline.yaml")
    assert "nothing to compute" in said
    assert f"model        {copy}/serving/letters/3" in said
    # And a third run finds it in place.
    tiny.run(copy / "pipeline.yaml")
    assert not (copy / "serving/letters/4").exists()


def ran(folder):
    """The stages that the newest run has finished by itself; the others are reused."""
    nodes = records(folder)[-1].nodes.values()
    assert {node.state for node in nodes} <= {"finished", "reused"}
    return [node.name for node in nodes if node.state == "finished"]


def test_another_test_file_does_not_train_again(copy):
    weights = artifacts(copy)["train"].summary["weights"]
    with (copy / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("bbb12345\tb\n")
    code, said = tiny.run(copy / "pipeline.yaml")
    assert code == 0, said
    assert "on 41 examples" in said
    assert ran(copy) == ["ingest", "tokenize", "evaluate", "export"]
    assert artifacts(copy)["train"].summary["weights"] == weights
    # What was measured before is there, too, and serves the first model again.
    (copy / "test.tsv").write_text((copy / "test.tsv").read_text().replace("bbb12345\tb\n", ""))
    assert all(artifacts(copy).values())


def test_columns_that_are_kept_shape_no_example(copy):
    config = copy / "pipeline.yaml"
    code, said = tiny.run(config, "ingest.keep={letter: label}", "evaluate.slices=[letter]")
    assert code == 0, said
    assert ran(copy) == ["ingest", "evaluate"]
    evaluated = artifacts(copy, "ingest.keep={letter: label}", "evaluate.slices=[letter]")["evaluate"]
    assert {*evaluated.report()["slices"]["letter"]} == {"a", "b", "c"}
    code, said = tiny.run(config, "ingest.max_rejected=3")
    assert code == 0, said
    assert ran(copy) == ["ingest"]


def _backwards(tokens):
    return pyarrow.array([row[::-1] for row in tokens.to_pylist()], tokens.type)


def test_what_is_read_may_turn_out_otherwise_than_planned(copy, monkeypatch):
    """The plan takes the training for reused; the job reads other digests, and trains."""
    (copy / "test.tsv").write_text((copy / "test.tsv").read_text() + "bbb12345\tb\n", encoding="utf-8")
    assert artifacts(copy)["train"] is not None
    honest = encode._encode
    monkeypatch.setattr(encode, "_encode", lambda *arguments: _backwards(honest(*arguments)))
    code, said = tiny.run(copy / "pipeline.yaml", "evaluate.bless=always")
    assert code == 0, said
    assert ran(copy) == ["ingest", "tokenize", "train", "evaluate", "export"]


def test_a_model_below_its_threshold_is_not_pushed(copy):
    code, said = tiny.run(copy / "pipeline.yaml", "evaluate.bless={accuracy: {max: 0.1}}", "seed=3")
    assert code == 3
    assert "not pushed" in said
    assert "accuracy" in said.partition("not pushed")[2]
    assert not (copy / "serving/letters/2").exists()
    # What was pushed by other rules stays served, and that is said.
    code, said = tiny.run(copy / "pipeline.yaml", "evaluate.bless={accuracy: {max: 0.1}}")
    assert code == 3
    assert f"still served {copy}/serving/letters/1" in said


def test_until_ends_with_the_artifact_and_decides_nothing(copy, monkeypatch):
    monkeypatch.setattr(Deployment, "look", lambda *_: pytest.fail("it looked at what is served"))
    code, said = tiny.run(copy / "pipeline.yaml", "tokenize.text={type: words}", until="tokenize")
    assert code == 0
    assert "\ntrain" not in said
    assert f"artifact     {copy}/runs/artifacts/tokenize/" in said
    assert (records(copy)[-1].verdict, records(copy)[-1].served) == ({}, "")


def test_broken_lines_are_set_aside_exactly(copy):
    lines = (copy / "train.tsv").read_bytes().splitlines(keepends=True)
    broken = {50: b"no tab\n", 120: b"bad \xff\xfe bytes\ta\n", 199: b" \ta\n"}
    for number, line in broken.items():
        lines.insert(number - 1, line)
    (copy / "train.tsv").write_bytes(b"".join(lines))
    code, said = tiny.run(copy / "pipeline.yaml", until="ingest")
    assert code == 0
    assert "200 train, 40 validation, 40 test; 3 rejected" in said
    rejected = list(artifacts(copy)["ingest"].rejected())
    assert [(Path(row["file"]).name, row["line"]) for row in rejected] == [("train.tsv", n) for n in broken]


def test_a_failure_says_where_why_what_is_kept_and_how_to_go_on(copy):
    text = (copy / "train.tsv").read_text(encoding="utf-8")
    (copy / "train.tsv").write_text(text + "broken\n" * 100, encoding="utf-8")
    code, said = tiny.run(copy / "pipeline.yaml")
    assert code == 1
    assert "failed in ingest: 100 of 380 records were rejected" in " ".join(said.split())
    assert "while running" not in said
    assert "Traceback" not in said
    assert "kept: nothing yet" in said
    assert f" run {copy / 'pipeline.yaml'}" in said.partition("go on: ")[2]
    assert records(copy)[-1].status == "failed"
    _, said = tiny.run(copy / "pipeline.yaml", verbose=True)
    assert "Traceback" in said


def test_data_that_change_while_they_are_read_are_not_kept(copy, monkeypatch):
    def append():
        with (copy / "train.tsv").open("a", encoding="utf-8") as file:
            file.write("one more\ta\n")

    append()
    monkeypatch.setattr(launch, "import_tensorflow", append)  # after the plan, before the job
    code, said = tiny.run(copy / "pipeline.yaml", until="ingest")
    assert code == 1
    assert "The data changed while they were read" in said
    assert artifacts(copy)["ingest"] is None


def test_a_full_disk_is_told_and_costs_nothing_that_is_finished(copy, monkeypatch):
    def full(attempt, name):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Attempt, "add", full)
        code, said = tiny.run(copy / "pipeline.yaml", "evaluate.resamples=99")
    assert code == 1
    assert "failed in evaluate: no space is left on a disk" in said
    assert f"Make room under {copy}/runs" in said
    assert "kept: ingest, tokenize, train" in said
    code, said = tiny.run(copy / "pipeline.yaml", "evaluate.resamples=99")
    assert code == 0, said
    assert ran(copy) == ["evaluate"]


def test_a_root_without_room_for_a_run_is_told_before_anything_runs(copy, monkeypatch):
    def full(path, data, private=False):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disks, "written_aside", full)
    code, said = tiny.run(copy / "pipeline.yaml", "evaluate.resamples=99")
    assert code == 1
    assert "failed: the run cannot be noted in " in said
    assert "No space left on device; expected a root that this user may write to, with room in it" in said
    assert "kept: nothing yet" in said
    assert "Traceback" not in said


def test_a_root_that_is_full_when_a_failure_is_told_is_told_as_well(copy, monkeypatch):
    create = disks.written_aside

    def full(path, data, private=False):
        if path.name in ("end.json", "card.html"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(path, data, private)

    monkeypatch.setattr(disks, "written_aside", full)
    sgd = "train.optimizer={type: sgd, learning_rate: 1.0e+38}"
    code, said = tiny.run(copy / "pipeline.yaml", sgd, "train.global_clipnorm=null")
    assert code == 1
    assert "The training loss became" in said
    assert "kept: ingest, tokenize\n" in said
    assert "the end of the run could not be noted: [Errno 28]" in said


@pytest.mark.parametrize("gone", ["", "artifacts"])
def test_a_root_that_is_removed_while_a_run_goes_on_is_named(copy, monkeypatch, gone):
    def remove(*_):
        shutil.rmtree(copy / "runs" / gone)
        raise RuntimeError("Graph execution error")

    monkeypatch.setattr(Attempt, "add", remove)
    code, said = tiny.run(copy / "pipeline.yaml", "train.epochs=1")
    assert code == 1
    assert str(copy / "runs" / gone) in said
    assert " was removed while the run went on" in said
    assert "kept: nothing yet" in said
    assert "Graph execution" not in said
    if not gone:
        assert not list(copy.glob("runs/runs/*/end.json"))


@pytest.mark.parametrize("case", ["ascii", "closed"])
def test_output_that_cannot_be_written_is_no_failure_of_a_run(copy, tmp_path, case):
    reading, closed = os.pipe()
    os.close(reading)
    serving = tmp_path / "日本"
    command = [sys.executable, "-m", "pipeline", "run", copy / "pipeline.yaml"]
    with open(tmp_path / "log" if case == "ascii" else closed, "wb") as log:
        done = subprocess.run(
            [*command, f"--set=export.directory={serving}"],
            cwd=REPOSITORY,
            stdout=log,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (serving / "letters" / "1" / "saved_model.pb").is_file()
    assert records(copy)[-1].status == "finished"
    if case == "ascii":
        assert rb"\u65e5\u672c/letters/1" in (tmp_path / "log").read_bytes()


def test_a_failing_stage_keeps_the_ones_before(copy):
    code, said = tiny.run(
        copy / "pipeline.yaml",
        "train.optimizer={type: sgd, learning_rate: 1.0e+38}",
        "train.global_clipnorm=null",
    )
    assert code == 1
    assert "failed in train" in said
    assert "The training loss became" in said
    assert "kept: ingest, tokenize" in said


def test_the_job_is_one_pipeline_of_five_boxes(tmp_path):
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from pipeline.run.job import build

    config = load_config(tiny.make(tmp_path))
    places = Places.of(config)
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    build(pipeline, places, planned(config)[0], RunFolder.new(places.root))
    (root,) = pipeline.transforms_stack
    assert [part.full_label for part in root.parts] == ["ingest", "tokenize", "train", "evaluate", "export"]


def test_a_seq2seq_run_serves_strings(tmp_path):
    code, said = tiny.run(tiny.make(tmp_path, tiny.SEQ2SEQ))
    assert code == 0, said
    process = tiny.start("predict", tmp_path / "serving" / "copy", stdin=subprocess.PIPE)
    out, _ = process.communicate("abc\nb\n")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["input"] for answer in answers] == ["abc", "b"]
    assert all(isinstance(answer["prediction"], str) and answer["score"] <= 0 for answer in answers)
    assert set(artifacts(tmp_path)["evaluate"].summary["metrics"]) == set(metric_names("seq2seq"))


@pytest.mark.slow
def test_the_default_pipeline_learns_dates(tmp_path, monkeypatch):
    """Two of its four epochs are enough to pass its own threshold."""
    monkeypatch.chdir(REPOSITORY)
    overrides = [
        f"root={tmp_path}/runs",
        f"export.directory={tmp_path}/serving",
        f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
        "train.epochs=2",
    ]
    code, said = tiny.run(Path("pipeline.yaml"), *overrides)
    assert code == 0, said
    (record,) = records(tmp_path)
    assert record.metrics["exact_match"] >= 0.97
    process = tiny.start("predict", tmp_path / "serving" / "dates", stdin=subprocess.PIPE)
    out, _ = process.communicate("12. März 2024\n")
    assert json.loads(out)["prediction"] == "2024-03-12"


@pytest.mark.parametrize("path", ["pipeline.yaml", "examples/languages.yaml"])
def test_the_shipped_configurations_are_sound(path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert load_config(Path(path)).evaluate.bless


def wait_for(process, text):
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


def test_a_run_that_monitors_a_metric_is_reused_until_its_decoding_changes(tmp_path):
    config = tiny.make(tmp_path, tiny.SEQ2SEQ)
    settings = ("train.monitor=exact_match", "train.validate_every={steps: 8}")
    assert tiny.run(config, *settings, until="train")[0] == 0
    trained = artifacts(tmp_path, *settings)["train"]
    validations = trained.history()["validations"]
    values = [validation["val_exact_match"] for validation in validations]
    kept = validations[values.index(max(values))]
    assert (trained.summary["kept_step"], trained.summary["kept_epoch"]) == (kept["step"], kept["epoch"])
    assert trained.summary["val_exact_match"] == max(values)
    assert artifacts(tmp_path, *settings, "decode.beam_size=3")["train"] is not None
    assert artifacts(tmp_path, *settings, "decode.max_decoding_length=3")["train"] is None


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_like_an_uninterrupted_one(trained, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    epochs = "train.epochs=8"
    assert tiny.run(tiny.make(whole), epochs, until="train")[0] == 0
    process = tiny.start("run", tiny.make(folder), "--set", epochs, "--until", "train")
    wait_for(process, "epoch 3/8")
    process.kill()
    process.wait()
    assert records(folder)[-1].status == "killed"
    code, said = tiny.run(folder / "pipeline.yaml", epochs, until="train")
    assert code == 0
    assert "going on after epoch" in said
    assert "epoch 1/8" not in said
    one, other = (artifacts(place, epochs)["train"] for place in (whole, folder))
    histories = [
        [
            {name: value for name, value in epoch.items() if name != "seconds"}
            for epoch in found.history()["epochs"]
        ]
        for found in (one, other)
    ]
    assert histories[0] == histories[1]
    assert one.manifest.digests["model"] == other.manifest.digests["model"]
    assert one.summary["weights"] == other.summary["weights"]


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(tmp_path):
    config = tiny.make(tmp_path)
    process = tiny.start("run", config, "--set", "train.epochs=500")
    wait_for(process, "epoch 2/500")
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 130
    assert "interrupted in train" in rest
    assert "kept: ingest, tokenize, " in rest
    assert "train up to epoch " in rest
    assert f" run {config} --set=train.epochs=500" in rest.partition("go on: ")[2]
    assert "Traceback" not in rest
    assert records(tmp_path)[-1].status == "interrupted"


@pytest.mark.slow
def test_two_runs_at_once_on_one_root_both_end_well(tmp_path):
    config = tiny.make(tmp_path)
    processes = [tiny.start("run", config, "--set", f"train.epochs={epochs}") for epochs in (2, 2, 3)]
    for process in processes:
        said, _ = process.communicate(timeout=400)
        assert process.returncode == 0, said
    for epochs in (2, 3):
        found = artifacts(tmp_path, f"train.epochs={epochs}")
        assert all(found.values())
    versions = [
        path for path in (tmp_path / "serving" / "letters").iterdir() if not path.name.startswith(".")
    ]
    assert all((version / "saved_model.pb").is_file() for version in versions)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs(["1"])
    assert [run.info.status for run in runs] == ["FINISHED"] * 6  # each with a trial
    digests = [version.tags[DIGEST] for version in client.search_model_versions("name = 'letters'")]
    assert len(set(digests)) == len(digests) == 2
