"""One cluster for all tests of the folder."""

import contextlib
import warnings

import pytest
from cluster import Mlflow, Prism, WorkerPool
from remote.servers import needed, s3_bucket
from worker_environment import worker_environment


@pytest.fixture(scope="session")
def bucket(s3_server, tmp_path_factory):
    """The address of a bucket that this process, those that it starts, and the workers reach."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from s3_bucket(s3_server, monkeypatch, tmp_path_factory.mktemp("launcher"))


@pytest.fixture(scope="session")
def pool(s3_server, tmp_path_factory):
    """The workers: somebody else, somewhere else, without rnnpipe."""
    starter = needed("container")
    with worker_environment() as environment:
        if environment.user.id is None:
            warnings.warn(
                "the workers run as the user who runs the tests, as only root can become another one",
                stacklevel=1,
            )
        workers = WorkerPool(environment, starter, s3_server, tmp_path_factory.mktemp("pool"))
        with _running(workers):
            yield workers


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    """MLflow over http."""
    server = Mlflow(tmp_path_factory.mktemp("mlflow"))
    with _running(server):
        yield server


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """An engine that nobody kills."""
    with _running(Prism(tmp_path_factory.mktemp("engine"))) as prism:
        yield prism


@pytest.fixture
def mortal_engine(tmp_path):
    """An engine of the test's own."""
    with _running(Prism(tmp_path)) as prism:
        yield prism


@contextlib.contextmanager
def _running(server):
    try:
        server.start()
        yield server
    finally:
        server.stop()
