"""The libraries' chatter, kept from the user's terminal."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Written by C++ static initialisers before any log level is read; nothing in them asks for action.
_NOISE = re.compile(
    r"oneDNN custom operations|TF_ENABLE_ONEDNN_OPTS|cudart_stub|cuda drivers|cuInit|CUDA_ERROR"
    r"|INTERNAL: CUDA|Unable to register cu|computation_placer|absl::InitializeLog|cpu_feature_guard"
    r"|rebuild TensorFlow|kernel driver does not appear|cuda_executor|cuda_diagnostics"
)


@contextmanager
def quietly() -> Iterator[None]:
    """Holds back what is written to standard error in the block, and then passes on all but known noise."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held.read().decode("utf-8", "replace").splitlines(keepends=True):
                if not _NOISE.search(line):
                    sys.stderr.write(line)


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
    with quietly():
        import tensorflow
        import tensorflow_text  # noqa: F401 (registers its operations)

        tensorflow.config.list_physical_devices()
