"""What a worker of Dataflow does, without its machine: runs the staged pipeline with the staged package.

Usage: python dataflow_worker.py PIPELINE_URL SCRATCH
"""

import os
import sys
import tarfile
from pathlib import Path

import fsspec
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment


def fetch(url):
    with fsspec.open(url, "rb") as file:
        return file.read()


def install(environment, scratch):
    """Unpacks the sources that came with a job where Python finds them."""
    for dependency in environment.dependencies:
        url = api.ArtifactUrlPayload.FromString(dependency.type_payload).url
        name = api.ArtifactStagingToRolePayload.FromString(dependency.role_payload).staged_name
        if name.endswith(".tar.gz"):
            archive = scratch / name
            archive.write_bytes(fetch(url))
            with tarfile.open(archive) as packed:
                packed.extractall(scratch, filter="data")
            sys.path.insert(0, str(scratch / name.removesuffix(".tar.gz") / "src"))


def main(url, scratch):
    os.chdir(scratch)
    pipeline = api.Pipeline.FromString(fetch(url))
    for environment in pipeline.components.environments.values():
        install(environment, scratch)
        hints = dict(environment.resource_hints)
        environment.CopyFrom(EmbeddedPythonEnvironment.default().to_runner_api(None))
        for urn, hint in hints.items():
            environment.resource_hints[urn] = hint

    from pipeline.engines import worker  # noqa: F401  (the plugin that the job asks for)

    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
