"""Prepares the environment of TensorFlow before any test imports it, as the command line does."""

import gc
import os
import signal
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if sys.version_info < (3, 11):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# What a shell runs in the background ignores Ctrl-C, and so would the commands that are interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)
gc.set_threshold(50_000, 20, 20)  # tracing networks makes objects by the million, and hardly any cycles

from remote.servers import faulty_gcs, faulty_s3, gcs, gcs_server, s3, s3_server  # noqa: E402, F401  (fixtures)


@pytest.fixture(scope="module", autouse=True)
def _what_stays_is_not_searched_again():
    """TensorFlow keeps graphs for good, and the garbage collector would go through ever more of them."""
    yield
    gc.collect()
    gc.freeze()
