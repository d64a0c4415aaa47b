"""What TensorFlow Serving needs beside the models: which there are, how to batch, what Prometheus reads."""

from __future__ import annotations

from collections.abc import Sequence

from upath import UPath

from components import files
from pipeline.config.name_checks import SERVING_FILES
from pipeline.serving.versions import versions

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


def write_serving_files(directory: UPath) -> list[str]:
    """Writes models.config, batching.config, monitoring.config and docker-compose.yaml beside the models.

    Files that are up to date, or were changed by somebody, who has removed their first line, are left alone.

    Args:
        directory: the one that holds a directory of versions for each model.

    Returns:
        The names of the files that were written.
    """
    written: list[str] = []
    while True:
        models = _models(directory)
        written += _write(directory, models)
        if _models(directory) == models:  # another model may have been pushed, and its list overwritten
            return list(dict.fromkeys(written))


def _models(directory: UPath) -> list[str]:
    return [name for name in files.names(directory) if versions(directory / name)]


def _write(directory: UPath, models: Sequence[str]) -> list[str]:
    listed = "".join(_MODEL.format(name=name) for name in models)
    contents = (f"model_config_list {{\n{listed}}}\n", _BATCHING, _MONITORING, _COMPOSE)
    written = []
    for name, content in zip(SERVING_FILES, contents, strict=True):
        path, data = directory / name, (_MARK + content).encode()
        there = files.read(path) if files.exists(path) else None
        if there != data and (there is None or there.startswith(_MARK.encode())):
            files.write(path, data)  # whole: a server may be reading it
            written.append(name)
    return written
