"""Object stores on 127.0.0.1: an S3 server and a GCS server, each test with a bucket of its own.

tests/remote/install.sh installs the servers; where they are missing, the tests are skipped.
"""

import os
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from remote.proxy import FaultyProxy

# gcsfs asks for it when it is imported. Otherwise it calls Google's gRPC interface, which the server has not,
# and tries for minutes.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

_CACHE = Path("~/.cache/rnnpipe-test-bin").expanduser()
_SECONDS = 20.0  # until a server must listen


def find_program(name):
    """Returns where a server is installed; None if it is not."""
    given = os.environ.get("RNNPIPE_TEST_BIN")
    folders = [*([given] if given else []), _CACHE, Path("~/go/bin").expanduser()]
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    return shutil.which(name, path=path)


def needed(name):
    """Returns where a server is installed; without it the test is skipped."""
    program = find_program(name)
    if program is None:
        pytest.skip(f"{name} is not installed: run tests/remote/install.sh, which needs Go")
    return program


@contextmanager
def running(command, port, log, **environment):
    """Runs a server until the block ends; gives its process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _SECONDS
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen: {log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    """Returns a port of 127.0.0.1 at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """Starts versitygw; gives what clients must find in the environment."""
    needed("versitygw")
    with serving_s3(tmp_path_factory.mktemp("versitygw")) as environment:
        yield environment


@contextmanager
def serving_s3(folder):
    """Runs versitygw on a folder until the block ends; gives what clients must find in the environment."""
    program, port, key = find_program("versitygw"), free_port(), uuid.uuid4().hex
    if program is None:
        raise RuntimeError("versitygw is not installed: run tests/remote/install.sh, which needs Go")
    (folder / "data").mkdir()
    command = [program, "--port", f"127.0.0.1:{port}", "posix", str(folder / "data")]
    with running(command, port, folder / "log", ROOT_ACCESS_KEY="test", ROOT_SECRET_KEY=key):
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
            "NO_PROXY": "127.0.0.1",
        }


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory):
    """Starts fake-gcs-server; gives what clients must find in the environment."""
    program, port = needed("fake-gcs-server"), free_port()
    folder = tmp_path_factory.mktemp("fake-gcs-server")
    (folder / "data").mkdir()
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "filesystem"]
    command += ["-filesystem-root", str(folder / "data"), "-public-host", f"127.0.0.1:{port}"]
    with running(command, port, folder / "log"):
        yield {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
            "FSSPEC_GS_PROJECT": "test",
            "FSSPEC_GS_TOKEN": "anon",
            "NO_PROXY": "127.0.0.1",
        }


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """The address of an empty bucket on an S3 server, such as s3://test-1234; subprocesses reach it, too."""
    yield from s3_bucket(s3_server, monkeypatch, tmp_path)


@pytest.fixture
def faulty_s3(s3_server, monkeypatch, tmp_path):
    """Like `s3`, and the proxy through which the bucket is reached: (proxy, address)."""
    import s3fs

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with FaultyProxy(s3_server["AWS_ENDPOINT_URL"]) as proxy:
        environment = {**s3_server, "AWS_ENDPOINT_URL": proxy.address}
        for bucket in _bucket("s3", s3fs.S3FileSystem, environment, monkeypatch, tmp_path):
            yield proxy, bucket


@pytest.fixture
def faulty_gcs(gcs_server, monkeypatch, tmp_path):
    """Like `gcs`, and the proxy through which the bucket is reached: (proxy, address)."""
    import gcsfs

    with FaultyProxy(gcs_server["STORAGE_EMULATOR_HOST"], format="gcs") as proxy:
        environment = {**gcs_server, "STORAGE_EMULATOR_HOST": proxy.address}
        for bucket in _bucket("gs", gcsfs.GCSFileSystem, environment, monkeypatch, tmp_path):
            yield proxy, bucket


@pytest.fixture
def gcs(gcs_server, monkeypatch, tmp_path):
    """The address of an empty bucket on a GCS server, such as gs://test-1234; subprocesses reach it, too."""
    import gcsfs

    yield from _bucket("gs", gcsfs.GCSFileSystem, gcs_server, monkeypatch, tmp_path)


def s3_bucket(environment, monkeypatch, folder):
    """Makes a bucket on an S3 server, and gives its address until it is not needed any more.

    Args:
        environment: what clients must find there.
        monkeypatch: of those that use the bucket.
        folder: for what clients keep on this machine.
    """
    import s3fs

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield from _bucket("s3", s3fs.S3FileSystem, environment, monkeypatch, folder)


def _bucket(scheme, kind, environment, monkeypatch, folder):
    from fsspec.config import conf, set_conf_env

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # Copies of remote files of this test only.
    monkeypatch.setenv("RNNPIPE_CACHE", str(folder / "cache"))
    # fsspec has read the environment when it was imported.
    again = {}
    set_conf_env(again)
    for protocol, values in again.items():
        monkeypatch.setitem(conf, protocol, values)
    kind.clear_instance_cache()
    name = f"test-{uuid.uuid4().hex[:12]}"
    kind(use_listings_cache=False).mkdir(name)
    yield f"{scheme}://{name}"
    kind.clear_instance_cache()
