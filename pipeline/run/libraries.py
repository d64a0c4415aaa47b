"""The libraries' chatter, kept from the user's terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from components.gpus import grow_memory
from components.quiet import quietly


def silence_libraries() -> None:
    """Lets only errors of the libraries through; what the user must know, the pipeline says itself."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # it logs what it raises
    warnings.filterwarnings("ignore")


def import_tensorflow() -> None:
    """Imports TensorFlow and TF Text and finds the devices, without their chatter.

    What goes wrong in TensorFlow arrives as an exception; its C++ log, errors that are none included, stays
    off unless the environment says otherwise.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.version_info < (3, 11):
        # Together with the newest versions that Python 3.10 can have, oneDNN's small matrix products crash.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with quietly():
        import tensorflow
        import tensorflow_text  # noqa: F401 (registers its operations)

        tensorflow.config.list_physical_devices()
        grow_memory()
