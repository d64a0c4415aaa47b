"""Worker processes that die."""

import os
import signal
import threading
import time

import apache_beam as beam
import pytest

from components.errors import UserError
from pipeline.engines.processes import ProcessesEngine


@pytest.mark.slow
def test_a_worker_process_that_is_killed_ends_the_job_with_a_sentence():
    handlers = signal.getsignal(signal.SIGUSR1), threading.excepthook
    watchdog = threading.Timer(120, os.kill, (os.getpid(), signal.SIGKILL))  # otherwise it would hang
    watchdog.daemon = True
    watchdog.start()

    def build(pipeline):
        pipeline | beam.Create([1, 2]) | beam.Map(lambda _: (time.sleep(0.5), os.kill(os.getpid(), 9)))

    job = ProcessesEngine({}).submit(build, "killed")
    with pytest.raises(UserError, match="a worker process was killed"):
        job.wait()
    watchdog.cancel()
    assert (signal.getsignal(signal.SIGUSR1), threading.excepthook) == handlers
    assert "PIPELINE_OPTIONS_FILE" not in os.environ
