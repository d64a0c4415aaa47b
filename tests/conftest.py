"""Prepares the environment of TensorFlow before any test imports it, as the command line does."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if sys.version_info < (3, 11):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from remote.servers import faulty_gcs, faulty_s3, gcs, gcs_server, s3, s3_server  # noqa: F401  (fixtures)
