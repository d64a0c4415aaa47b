"""What C++ libraries write to standard error although nobody has to act on it."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Written by C++ code that reads no log level; nothing in it asks for action.
_NOISE = re.compile(
    r"oneDNN custom operations|TF_ENABLE_ONEDNN_OPTS|cudart_stub|cuda drivers|cuInit|CUDA_ERROR"
    r"|INTERNAL: CUDA|Unable to register cu|computation_placer|absl::InitializeLog|cpu_feature_guard"
    r"|rebuild TensorFlow|precompiled_charsmap is empty|kernel driver does not appear|cuda_executor"
    r"|cuda_diagnostics"
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
