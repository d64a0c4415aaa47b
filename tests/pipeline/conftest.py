import shutil
import threading

import pytest

from pipeline.tracking.mlflow_client import open_client, quiet_mlflow


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database of MLflow, which takes seconds to make one."""
    quiet_mlflow()
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_client(f"sqlite:///{database}")
    return database


@pytest.fixture
def uri(tmp_path, empty_database):
    """An MLflow of the test's own."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def _tracking_ends():
    """Waits for what an interrupted run has left at its tracking: it would go on beside the next test."""
    yield
    for thread in threading.enumerate():
        if thread.name == "tracker":
            thread.join(10)
            if thread.is_alive():
                thread.name = "tracker that was left"  # the next test is not held up by it, too
                pytest.fail("a tracker goes on after the test: end it by finish()")
