"""The first step of a job on workers elsewhere: what it compares, and what is told of it."""

import dataclasses
import socket

import apache_beam as beam
import own_modules
import pytest
import tiny
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from upath import UPath

from components import files
from components.errors import UserError
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.engines import preflight as module
from pipeline.engines.engine import JobFailedError
from pipeline.engines.environment import Environment
from pipeline.engines.local import LocalEngine
from pipeline.engines.preflight import preflight
from pipeline.engines.processes import ProcessesEngine
from pipeline.plan.planning import make_plan
from pipeline.run.failure import failure_of
from pipeline.run.folder import PREFLIGHT, RunFolder
from pipeline.run.job import build
from pipeline.run.observe import Observer, read_records
from pipeline.store.clean import DAY, SILENT, clean
from pipeline.store.store import Store

HERE = Environment("3.11", "2.77.0", "2.21.0", "3.15.1", "0.1.0", "abc")


class Made:
    """A run that has begun, and the first step of its job.

    Args:
        config: of the run.
        overrides: of the configuration.
    """

    def __init__(self, config, *overrides):
        self.config = load_config(config, overrides)
        self.places = Places.of(self.config)
        self.store = Store(self.places.root)
        self.plan = make_plan(self.config, self.places, self.store)
        self.folder = RunFolder.new(self.places.root)
        self.folder.start("letters", {}, {}, self.plan)
        self.first = preflight(self.config, self.places, self.folder)

    def job(self):
        """Runs the whole job; returns how it failed, as it is told."""
        try:
            with beam.Pipeline(runner=FnApiRunner()) as pipeline:
                build(pipeline, self.places, self.plan, self.folder, self.first)
        except Exception as error:
            return failure_of(error, self.record(), self.folder)
        raise AssertionError("the job did not fail")

    def record(self):
        return Observer(self.folder, self.store).record()

    def began(self):
        return [node.name for node in self.record().nodes.values() if node.began is not None]


@pytest.fixture
def made(tmp_path):
    return Made(tiny.make(tmp_path))


@pytest.fixture
def elsewhere(monkeypatch):
    """Has jobs in this process begin as those on other machines do."""
    monkeypatch.setattr(LocalEngine, "elsewhere", True)


def test_environments_differ_by_what_people_can_read():
    assert Environment.here().differences(Environment.here()) == []
    other = dataclasses.replace(HERE, python="3.12", keras="3.14.0")
    assert HERE.differences(other, "for the launcher", "there") == [
        "Python 3.11 for the launcher, 3.12 there",
        "Keras 3.15.1 for the launcher, 3.14.0 there",
    ]
    # What counts is the source: the version of a checkout is that of when it was installed.
    assert HERE.differences(dataclasses.replace(HERE, rnnpipe="0.2.0")) == []
    assert HERE.differences(dataclasses.replace(HERE, source="def")) == [
        "rnnpipe 0.1.0 (source abc) here, 0.1.0 (source def) there"
    ]
    assert HERE.differences(dataclasses.replace(HERE, tensorflow="missing")) == [
        "TensorFlow 2.21.0 here, missing there"
    ]


def test_a_job_begins_with_it_and_leaves_nothing(tmp_path, elsewhere):
    code, said = tiny.run(tiny.make(tmp_path), until="ingest")
    assert code == 0, said
    (record,) = read_records(UPath(tmp_path / "runs"))
    folder = RunFolder(UPath(tmp_path / "runs"), record.id)
    (report,) = folder.reports(PREFLIGHT)
    assert (report["attempts"], report["error"]) == (1, "")
    assert report["began"] <= record.node("ingest").began
    assert not (tmp_path / "runs" / PREFLIGHT).exists()


def test_another_environment_fails_before_any_node_begins(made, monkeypatch):
    monkeypatch.setattr(Environment, "here", classmethod(lambda cls: HERE))
    failure = made.job()
    (kept,) = made.folder.reports(PREFLIGHT)
    assert kept["error"] == failure.message
    assert failure.expected
    assert made.began() == []
    assert f"a worker on {socket.gethostname()} (user " in failure.message
    ours = made.first._check._environment
    assert f"rnnpipe {ours.rnnpipe} (source {ours.source}) for the launcher, 0.1.0 (source abc) there" in (
        failure.message
    )
    assert "docker/worker/Dockerfile" in failure.message


def test_the_command_tells_it_and_removes_the_token(tmp_path, elsewhere, monkeypatch):
    environments = iter([Environment.here(), HERE])
    monkeypatch.setattr(Environment, "here", classmethod(lambda cls: next(environments)))
    code, said = tiny.run(tiny.make(tmp_path), until="ingest")
    assert code == 1
    assert "failed: a worker on" in said.replace("\n", " ")
    assert "has another environment than the launcher: rnnpipe" in said
    assert "Traceback" not in said
    assert not (tmp_path / "runs" / PREFLIGHT).exists()


@pytest.mark.slow
def test_worker_processes_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(ProcessesEngine, "elsewhere", True)
    here = dataclasses.replace(Environment.here(), keras="3.0.0")
    monkeypatch.setattr(Environment, "here", classmethod(lambda cls: here))  # in this process alone
    code, said = tiny.run(tiny.make(tmp_path), "runner={type: processes}", until="ingest")
    assert code == 1
    assert "Keras 3.0.0 for the launcher, 3." in said


def test_a_root_that_a_worker_does_not_see_is_named(made, tmp_path):
    """It can report nothing: what it raises has to do."""
    files.delete([made.folder.token])
    failure = made.job()
    assert failure.expected
    assert made.began() == []
    assert made.folder.reports(PREFLIGHT) == []
    assert f"does not see the root as the launcher does: {made.folder.token} cannot be read there" in (
        failure.message
    )
    assert "shared_files" in failure.message
    assert "while running" not in failure.message


def test_a_root_of_the_same_name_that_is_another_one_is_named(made):
    files.write(made.folder.token, b"another launcher's")
    assert f"{made.folder.token} holds something else there" in made.job().message


def test_a_root_without_the_right_to_write_is_named(made, monkeypatch):
    write = files.write

    def refuse(path, data):
        if path.parent.name == PREFLIGHT:
            raise PermissionError(13, "Permission denied")
        write(path, data)

    monkeypatch.setattr(module.files, "write", refuse)
    failure = made.job()
    assert (
        f"cannot write below {made.folder.root}, where artifacts belong: Permission denied" in failure.message
    )
    assert made.began() == []


@pytest.mark.parametrize("change", ["gone", "another beginning", "another length"])
def test_data_that_a_worker_sees_otherwise_are_named(made, tmp_path, change):
    path = tmp_path / "validation.tsv"
    content = path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(b"TEXT" + content[4:] if change == "another beginning" else content + b"xyz\ta\n")
    message = made.job().message
    problem = "cannot be read there: No such file" if change == "gone" else "holds something else there"
    assert f"does not see the data as the launcher does: {path} {problem}" in message
    assert made.began() == []


def test_of_an_object_store_one_file_of_every_folder_is_looked_at(tmp_path):
    place = f"memory://preflight-{tmp_path.name}"
    config = tiny.make(tmp_path)
    for name in ("a/1.tsv", "a/2.tsv", "b/1.tsv"):
        files.write(files.resolve(f"{place}/{name}"), (tmp_path / "train.tsv").read_bytes())
    made = Made(config, f"ingest.files.train=['{place}/a/*.tsv', '{place}/b/*.tsv']", f"root={place}/runs")
    looked_at = [str(seen.place) for seen in made.first._check._data]
    assert looked_at == [
        f"{place}/a/1.tsv",
        f"{place}/b/1.tsv",
        str(tmp_path / "validation.tsv"),
        str(tmp_path / "test.tsv"),
    ]
    files.delete([files.resolve(f"{place}/b/1.tsv")])
    assert f"{place}/b/1.tsv cannot be read there" in made.job().message


def test_an_installed_module_that_a_worker_lacks_is_named(tmp_path, monkeypatch):
    own_modules.forget(monkeypatch)
    site = tmp_path / "site-packages"
    site.mkdir()
    own_modules.write(site)
    monkeypatch.syspath_prepend(site)
    made = Made(tiny.make(tmp_path), "model.encoder={type: my_encoders:MGUEncoder, units: 8}")
    assert made.first._check._modules == ["my_encoders:MGUEncoder"]

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(module, "import_module", absent)
    message = made.job().message
    assert "cannot import my_encoders, which `my_encoders:MGUEncoder` in the configuration needs" in message
    assert "requirements_file" in message


def test_its_error_is_not_told_once_a_node_has_begun(made):
    """Engines try again: it has passed, then."""
    with pytest.raises(UserError), module.reporting(PREFLIGHT, made.folder.status(PREFLIGHT), "a"):
        raise UserError("the first worker was another one")
    assert failure_of(JobFailedError("lost"), made.record(), made.folder).message == (
        "the first worker was another one"
    )
    with module.reporting("ingest", made.folder.status("ingest"), "b"):
        pass
    message = failure_of(JobFailedError("lost"), made.record(), made.folder).message
    assert message.startswith("lost. The last worker at work was ")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("ModuleNotFoundError: No module named 'pipeline'", "rnnpipe is not installed where it runs"),
        ("ModuleNotFoundError: No module named 'components.work'", "--container_executable"),
        (
            "ModuleNotFoundError: No module named 'sklearn'",
            "cannot import sklearn, which is no part of rnnpipe",
        ),
    ],
)
def test_a_worker_without_the_package_is_told_in_a_sentence(made, raised, told):
    text = f"job-001 failed:\nTraceback (most recent call last):\n  File x\n    loads(s)\n{raised}\n"
    failure = failure_of(JobFailedError(text), made.record(), made.folder)
    assert told in failure.message
    assert "\n" not in failure.message
    assert failure.expected


def test_workers_that_never_come_are_told_in_a_sentence(made):
    text = "prism worker[job-001[dates]] didn't get control connection to localhost:8073 after 1m0s"
    failure = failure_of(JobFailedError(text), made.record(), made.folder)
    assert failure.expected
    assert failure.message.startswith("no worker was ready within 1m0s, as long as the engine waits")


def test_what_a_worker_raised_for_the_user_is_told_without_the_traceback(made):
    cause = "components.errors.UserError: the first\n\nDuring handling of the above exception:\n\nTraceback\n"
    text = f"{cause}components.errors.UserError: the last\nof all [while running 'preflight/look']\n\nmore"
    assert failure_of(JobFailedError(text), made.record(), made.folder).message == "the last\nof all"


def test_tokens_of_killed_runs_are_cleaned(made, monkeypatch):
    entries = files.entries
    ages = {"seconds": DAY + 1}  # a job may wait in a queue
    monkeypatch.setattr(
        files,
        "entries",
        lambda folder: [e._replace(modified=e.modified - ages["seconds"]) for e in entries(folder)],
    )
    clean(made.places.root, keep=None)
    assert files.exists(made.folder.token)
    ages["seconds"] = SILENT + 1
    assert clean(made.places.root, keep=None).files == 1
    assert not files.exists(made.folder.token)
