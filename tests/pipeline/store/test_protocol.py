import tempfile
import uuid

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from protocol import Protocol

from components import files


def check(new_root, examples, steps):
    machine = type("Machine", (Protocol,), {"new_root": staticmethod(new_root)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            # Minutes of shrinking give little: each step is a line already.
            phases=[Phase.generate],
        ),
    )


def test_the_protocol_in_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path))
    check(lambda: files.resolve(f"memory://{uuid.uuid4().hex}"), examples=60, steps=40)


def test_the_protocol_on_a_disk(tmp_path):
    check(lambda: files.resolve(tempfile.mkdtemp(dir=tmp_path)), examples=40, steps=40)


@pytest.mark.parametrize("server", ["s3", "gcs"])
def test_the_protocol_on_a_server(server, request):
    bucket = request.getfixturevalue(server)
    check(lambda: files.resolve(f"{bucket}/{uuid.uuid4().hex}"), examples=3, steps=20)
