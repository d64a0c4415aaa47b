import subprocess
import sys

from components.events import EpochFinished, StageFinished, StageStarted
from pipeline.run.record import Recorder, read_records


def test_a_run_is_on_disk_at_every_moment(tmp_path):
    recorder = Recorder(tmp_path, "dates", {"name": "dates"})
    recorder.stage("ingest", state="waiting", key="k")
    recorder(StageStarted("ingest", "attempt"))
    assert read_records(tmp_path)[0].stages["ingest"] == {
        "state": "running",
        "key": "k",
        "directory": "attempt",
    }
    recorder(StageFinished("ingest", "somewhere", 1.5))
    recorder(StageStarted("evaluate"))
    recorder(StageFinished("evaluate", "elsewhere", 0.5, {"metrics": {"accuracy": 0.9}}))
    recorder(EpochFinished(1, 2, {"loss": 0.5}, 3.0))
    recorder.finish("finished")
    (record,) = read_records(tmp_path)
    assert record.stages["ingest"]["state"] == "finished"
    assert record.stages["ingest"]["seconds"] == 1.5
    assert record.metrics == {"accuracy": 0.9}
    assert (record.epochs, record.status, record.state) == (1, "finished", "finished")


def test_a_run_whose_process_is_gone_was_killed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    recorder = Recorder(tmp_path, "dates", {})
    recorder.note()
    assert read_records(tmp_path)[0].state == "running"
    recorder.record.pid = gone.pid
    recorder.note()
    assert read_records(tmp_path)[0].state == "killed"


def test_no_runs_no_records(tmp_path):
    assert read_records(tmp_path / "none") == []
