"""`make verify-outside` against the stand-in: all but the real service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "google.cloud.dataflow",
    reason="Beam's parts for Google Cloud are not installed, which make test-cluster does",
)

from dataflow_fixtures import Worker, dataflow_fixture, ending, private_key  # noqa: F401
from dataflow_service import PROJECT, REGION

from components import files

pytestmark = pytest.mark.cluster

SCRIPT = Path(__file__).parents[1] / "outside" / "verify.py"


def verify(dataflow, gcs):
    """Runs the script; returns its exit code and what it printed."""
    process = subprocess.run(
        [sys.executable, str(SCRIPT), f"--dataflow_endpoint={dataflow.endpoint}"],
        env={
            **os.environ,
            "RNNPIPE_VERIFY_PROJECT": PROJECT,
            "RNNPIPE_VERIFY_REGION": REGION,
            "RNNPIPE_VERIFY_BUCKET": gcs.removeprefix("gs://"),
            "PATH": os.path.dirname(sys.executable),  # neither a model server nor docker
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


def test_it_passes_and_leaves_nothing(dataflow, gcs, tmp_path):
    dataflow.work = worker = Worker(tmp_path)
    code, printed = verify(dataflow, gcs)
    assert "Dataflow: passed: left, attached to, and equal" in printed, printed + worker.output
    assert "TensorFlow Serving: NOT TRIED: there is no tensorflow_model_server" in printed
    assert code == 2
    assert len(dataflow.jobs) == 1
    assert files.entries(files.resolve(gcs)) == []


def test_what_fails_there_is_kept_and_told(dataflow, gcs):
    dataflow.work = ending("FAILED", "QUOTA_EXCEEDED")
    code, printed = verify(dataflow, gcs)
    assert "QUOTA_EXCEEDED" in printed
    assert f"Dataflow: FAILED: attaching to it ended with exit code 1; all of it is kept in {gcs}/" in printed
    assert code == 1
    assert files.entries(files.resolve(gcs)) != []
