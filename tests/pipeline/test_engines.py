"""Runners, and jobs that outlive their launchers: on an engine of this test, which works when told to."""

import dataclasses
import io

import grpc
import pytest
import tiny
from apache_beam.portability.api import beam_job_api_pb2_grpc
from rich.console import Console

import pipeline.run.pipeline as command
from components import files
from components.errors import UserError
from pipeline.cli_options import config_and_flags
from pipeline.config import ConfigError, load_config
from pipeline.engines import engine_of, portable
from pipeline.engines.engine import Engine, Job, JobEndedError, JobFailedError, JobNote
from pipeline.engines.local import LocalEngine
from pipeline.engines.options import beam_options, refuse_unknown
from pipeline.run.observe import read_records


class LaterEngine(Engine):
    """Takes jobs, and does them when `work` is called or a launcher waits."""

    detaches = True

    def __init__(self):
        self.jobs = {}
        self.interrupts = False

    def submit(self, build, name, packages=()):
        note = JobNote("local", f"job-{len(self.jobs) + 1}", name, "http://127.0.0.1/job")
        self.jobs[note.id] = LaterJob(self, note, build)
        return self.jobs[note.id]

    def find(self, note):
        job = self.jobs.get(note.id)
        return job if job is None or job.note.name == note.name else None


class LaterJob(Job):
    def __init__(self, engine, note, build):
        self._engine, self._note, self._build = engine, note, build
        self.state = "pending"
        self.works = 0

    @property
    def note(self):
        return self._note

    def work(self):
        self.works += 1
        LocalEngine({}).submit(self._build, self._note.name).wait()
        self.state = "done"

    def wait(self):
        if self._engine.interrupts:
            raise KeyboardInterrupt("interrupted")
        if self.state == "pending":
            self.work()
        if self.state == "failed":
            raise JobFailedError("out of quota")
        if self.state == "cancelled":
            raise JobEndedError("its job was cancelled")

    def cancel(self):
        self.state = "cancelled"


@pytest.fixture
def engine(monkeypatch):
    made = LaterEngine()
    monkeypatch.setattr(command, "engine_of", lambda config, flags: made)
    return made


def run(config, **options):
    """Runs it in this process; returns the exit code and what was printed."""
    output = io.StringIO()
    console = Console(file=output, width=200)
    code = command.run_pipeline(load_config(config), console, str(config), **options)
    return code, output.getvalue()


def records(folder):
    return read_records(files.resolve(folder / "runs"))


def test_a_launcher_leaves_and_the_same_command_pushes_what_came_of_it(engine, tmp_path):
    config = tiny.make(tmp_path)
    code, printed = run(config, detach=True)
    assert code == 0
    (job,) = engine.jobs.values()
    assert f"job {job.note.name} (job-1) goes on without this command\nhttp://127.0.0.1/job" in printed
    assert (
        f"attach, and push what comes of it: {command._command(str(config), (), None, (), False, ())}"
        in printed
    )
    (record,) = records(tmp_path)
    assert (record.status, record.job) == ("detached", dataclasses.replace(job.note, detached=True))
    assert {node.state for node in record.nodes.values()} == {"waiting"}
    assert not files.exists(files.resolve(tmp_path / "serving" / "letters" / "1" / "saved_model.pb"))

    job.work()  # while nobody looks
    assert [record.status for record in records(tmp_path)] == ["detached"]
    code, printed = run(config)
    assert code == 0, printed
    assert f"attached to the local job {job.note.name}" in printed
    assert "accuracy" in printed
    assert len(engine.jobs) == job.works == 1
    (record,) = records(tmp_path)
    assert record.status == "finished"
    assert {node.state for node in record.nodes.values()} == {"finished"}
    assert record.tracking["run"]
    assert files.names(files.resolve(tmp_path / "serving" / "letters")) == ["1"]

    code, printed = run(config)
    assert (code, "nothing to do" in printed) == (0, True)


def test_a_second_submission_attaches(engine, tmp_path):
    config = tiny.make(tmp_path)
    assert run(config, detach=True, until="ingest")[0] == 0
    assert run(config, detach=True, until="ingest")[0] == 0
    assert len(engine.jobs) == len(records(tmp_path)) == 1
    assert run(config, detach=True, until="tokenize")[0] == 0  # another plan
    assert len(engine.jobs) == 2


def test_ctrl_c_stops_the_engine_s_job(engine, tmp_path):
    engine.interrupts = True
    code, printed = run(tiny.make(tmp_path), until="ingest")
    (job,) = engine.jobs.values()
    assert (code, job.state) == (130, "cancelled")
    assert f"by Ctrl-C; the local job {job.note.name} was told to stop" in printed
    assert [record.status for record in records(tmp_path)] == ["interrupted"]


def test_ctrl_c_only_leaves_a_detached_job(engine, tmp_path):
    config = tiny.make(tmp_path)
    run(config, detach=True, until="ingest")
    engine.interrupts = True
    code, printed = run(config, until="ingest")
    (job,) = engine.jobs.values()
    assert (code, job.state) == (130, "pending")
    assert f"left: the local job {job.note.name} goes on\nattach: " in printed
    assert [record.status for record in records(tmp_path)] == ["detached"]
    engine.interrupts = False
    assert run(config, until="ingest")[0] == 0
    assert [record.status for record in records(tmp_path)] == ["finished"]


@pytest.mark.parametrize(
    ("state", "message"), [("failed", "out of quota"), ("cancelled", "its job was cancelled")]
)
def test_how_a_job_ended_without_a_launcher_is_told_once(state, message, engine, tmp_path):
    config = tiny.make(tmp_path)
    run(config, detach=True, until="ingest")
    engine.jobs["job-1"].state = state
    code, printed = run(config, until="ingest")
    assert (code, message in printed) == (1, True)
    assert [record.status for record in records(tmp_path)] == ["failed"]
    assert run(config, until="ingest")[0] == 0  # another job
    assert sorted(record.status for record in records(tmp_path)) == ["failed", "finished"]


def test_a_job_that_the_engine_no_longer_knows_is_submitted_again(engine, tmp_path):
    config = tiny.make(tmp_path)
    run(config, detach=True, until="ingest")
    engine.jobs.clear()
    assert run(config, until="ingest")[0] == 0
    lost, other = sorted(records(tmp_path), key=lambda record: record.status)
    assert (lost.status, lost.message) == ("failed", "the engine no longer knows its job job-1")
    assert other.status == "finished"


def test_jobs_of_this_process_cannot_be_left(tmp_path):
    with pytest.raises(UserError, match=r"runner.type local end with this process; expected portable or"):
        run(tiny.make(tmp_path), detach=True)


def test_an_engine_that_does_not_answer_fails_the_run_with_a_sentence(tmp_path, monkeypatch):
    from pipeline.engines import portable

    monkeypatch.setattr(portable, "_ANSWER", 0.2)
    config = tiny.make(tmp_path)
    shared = "runner={type: portable, shared_files: true, options: {job_endpoint: '127.0.0.1:9'}}"
    output = io.StringIO()
    console = Console(file=output, width=200)
    assert command.run_pipeline(load_config(config, [shared]), console, str(config), until="ingest") == 1
    assert "nothing answers at 127.0.0.1:9, the job_endpoint; start the engine, or name" in output.getvalue()
    assert [record.status for record in records(tmp_path)] == ["failed"]


def test_portable_needs_an_endpoint(tmp_path):
    config = load_config(tiny.make(tmp_path), ["runner={type: portable, shared_files: true}"])
    with pytest.raises(UserError, match=r"expects the address of an engine's job service, such as options"):
        engine_of(config)
    engine_of(config, ["--job_endpoint=127.0.0.1:9"])


def test_local_files_are_refused_where_workers_may_not_see_them(tmp_path):
    config = tiny.make(tmp_path)
    with pytest.raises(ConfigError) as raised:
        load_config(config, ["runner={type: portable}"])
    problems = raised.value.problems
    assert len(problems) == 4  # the root and three files
    assert problems[0] == (
        f"{config}:3: root: received '{tmp_path}/runs', which is on this machine, while the workers of "
        "runner.type portable may be on others; give an address such as s3://bucket/runs, or set "
        "runner.shared_files to true if all of them see it under this path"
    )
    assert ": ingest.files.train: received" in problems[1]


def test_the_last_word_on_an_option_counts():
    from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions

    flags = beam_options(
        {"direct_num_workers": 0, "labels": ["a=1"]},
        {"direct_num_workers": 2, "labels": ["b=2"]},
        ["--labels=c=3"],
    )
    options = PipelineOptions(flags)
    assert options.view_as(DirectOptions).direct_num_workers == 2
    assert options.view_as(GoogleCloudOptions).labels == ["a=1", "b=2", "c=3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direct_num_workers": "two"}, "argument --direct_num_workers: invalid int value: 'two'"),
        ({"direct_num_wrkers": 2}, "received the option direct_num_wrkers.*did you mean direct_num_workers"),
    ],
)
def test_options_that_beam_does_not_take_are_told(options, message):
    with pytest.raises(UserError, match=message):
        LocalEngine(options)


@pytest.mark.parametrize(
    "flag", ["--runner=DirectRunner", "--job_name=mine", "--streaming", "--setup_file=x"]
)
def test_flags_that_are_not_the_user_s_are_refused_for_every_engine(flag):
    name = flag.lstrip("-").partition("=")[0]
    with pytest.raises(UserError, match=f"received the option {name}, which cannot be set: "):
        LocalEngine({}, [flag])


def test_flags_are_told_from_the_configuration(tmp_path):
    assert config_and_flags([], tmp_path) == (tmp_path, [])
    assert config_and_flags(["--a=b//c"], tmp_path) == (tmp_path, ["--a=b//c"])
    assert [*map(str, config_and_flags(["x.yaml"], tmp_path)[:1])] == ["x.yaml"]
    with pytest.raises(
        UserError, match="received 'localhost:8073', expected one configuration and, behind --"
    ):
        config_and_flags(["x.yaml", "--job_endpoint", "localhost:8073"], tmp_path)
    refuse_unknown(["--job_endpoint=x"], "it")


def test_an_engine_that_cannot_be_asked_says_so(monkeypatch):
    monkeypatch.setattr(portable, "_PATIENCE", 0.0)
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        job = portable.PortableJob(service, JobNote("portable", "7", "rnnpipe-x"), "127.0.0.1:1")
        with pytest.raises(UserError, match="could not be told to stop the job rnnpipe-x, which may go on"):
            job.cancel()
        with pytest.raises(UserError, match=r"runner: the engine at 127\.0\.0\.1:1 has not answered"):
            job.is_known()
