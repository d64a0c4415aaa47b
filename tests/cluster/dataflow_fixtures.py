"""The tiny pipeline on a stand-in for Dataflow, with everything in a bucket on a GCS server."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny_elsewhere
from dataflow_service import PROJECT, REGION, DataflowService

from components import files
from pipeline.config import load_config
from pipeline.run.observe import read_records

_WORKER = Path(__file__).with_name("dataflow_worker.py")


@pytest.fixture(scope="session")
def private_key():
    """A key, of which a service account's file needs one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


@pytest.fixture(name="dataflow")
def dataflow_fixture(gcs, private_key, monkeypatch, tmp_path):
    """A stand-in for Dataflow, the credentials that it takes, and little patience."""
    from apache_beam.internal.gcp.auth import _Credentials

    from pipeline.engines import dataflow_api, dataflow_job

    monkeypatch.setattr(dataflow_job, "_LOOK", 0.05)
    monkeypatch.setattr(dataflow_job, "_LAST_WORDS", 0.2)
    monkeypatch.setattr(dataflow_api, "_PAUSE", 0.05)
    monkeypatch.setattr(_Credentials, "_credentials_init", False)
    with DataflowService() as service:
        account = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "1",
            "private_key": private_key,
            "client_email": f"launcher@{PROJECT}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{service.endpoint}/token",
        }
        key_file = tmp_path / "account.json"
        key_file.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
        yield service


@pytest.fixture(name="config")
def config_fixture(gcs, dataflow, tmp_path):
    """The tiny pipeline, with data, root and served models in the bucket, and its runner."""
    options = {
        "project": PROJECT,
        "region": REGION,
        "temp_location": f"{gcs}/temp",
        "dataflow_endpoint": dataflow.endpoint,
    }
    return tiny_elsewhere.make(tmp_path, gcs, {"type": "dataflow", "options": options})


def records(config):
    """The records of all runs of a configuration."""
    return read_records(files.resolve(load_config(config).root))


def ending(state, *errors):
    """What a job does that comes to such an end as soon as it runs."""
    return lambda job: job.end(state, *errors)


class Worker:
    """Does the work of jobs as a machine of Dataflow would, in a process of its own.

    Args:
        folder: for its files.
    """

    def __init__(self, folder):
        self._folder = folder
        self.done = threading.Event()
        """Whether it has ended a job."""
        self.output = ""

    def __call__(self, job):
        threading.Thread(target=self._work, args=[job], daemon=True).start()

    def _work(self, job):
        scratch = self._folder / f"worker-{job.id}"
        scratch.mkdir()
        url = job.sent.environment.sdk_pipeline_options["options"]["pipelineUrl"]
        made = subprocess.run(
            [sys.executable, str(_WORKER), url, str(scratch)],
            cwd=scratch,
            env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, "HOME": "/"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = made.stdout + made.stderr
        if made.returncode == 0:
            job.end("DONE")
        else:
            job.end("FAILED", self.output)
        self.done.set()
