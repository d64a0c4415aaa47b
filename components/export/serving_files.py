"""What TensorFlow Serving needs beside the models: which there are, how to batch, what to tell Prometheus."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from components.export.push import versions

_MARK = "# Written by rnnpipe at each push. Remove this line to keep your own changes.\n"

_BATCHING = """\
# The largest request, too: a longer one is an error.
max_batch_size { value: 1024 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 4 }
"""

_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

_MODEL = """\
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
"""

_COMPOSE = """\
# `docker compose up` here: gRPC on port 8500, REST and /monitoring/prometheus/metrics on port 8501.
services:
  tensorflow-serving:
    image: tensorflow/serving:${TF_SERVING_VERSION:-latest}
    ports: ["8500:8500", "8501:8501"]
    volumes: [".:/models:ro"]
    command:
      - --model_config_file=/models/models.config
      - --model_config_file_poll_wait_seconds=30
      - --enable_batching=true
      - --batching_parameters_file=/models/batching.config
      - --monitoring_config_file=/models/monitoring.config
"""


def write_serving_files(directory: Path) -> list[str]:
    """Writes models.config, batching.config, monitoring.config and docker-compose.yaml beside the models.

    Files that were changed by somebody, who has removed their first line, are left alone.

    Args:
        directory: the one that holds a directory of versions for each model.

    Returns:
        The names of the files that were written.
    """
    models = sorted(path.name for path in directory.iterdir() if path.is_dir() and versions(path))
    listed = "".join(_MODEL.format(name=name) for name in models)
    contents = {
        "models.config": f"model_config_list {{\n{listed}}}\n",
        "batching.config": _BATCHING,
        "monitoring.config": _MONITORING,
        "docker-compose.yaml": _COMPOSE,
    }
    written = [name for name in contents if _is_ours(directory / name)]
    for name in written:
        temporary = directory / f".{uuid.uuid4().hex}"
        temporary.write_text(_MARK + contents[name], encoding="utf-8")
        os.replace(temporary, directory / name)  # a server may be reading it
    return written


def _is_ours(path: Path) -> bool:
    return not path.exists() or path.read_text(encoding="utf-8").startswith(_MARK)
