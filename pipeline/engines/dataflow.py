"""Google Cloud Dataflow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from components.errors import UserError
from pipeline.engines.dataflow_address import Address
from pipeline.engines.engine import Build, Engine, Job, JobNote, JobUnreachableError
from pipeline.engines.options import beam_options, refuse_unknown
from pipeline.engines.processes import WORKER

_NEEDED = {
    "project": "the id of a project of Google Cloud, such as my-project",
    "region": "where the workers are, such as europe-west1",
    "temp_location": "a folder in a bucket, such as gs://my-bucket/temp",
}
_IN_BUCKETS = ("temp_location", "staging_location")
_ONE_PROCESS, _MANY_PROCESSES = "no_use_multiple_sdk_containers", "use_multiple_sdk_containers"
_NO_RUN = {
    "update": "only streaming jobs can be updated",
    "template_location": "a template is no run: nothing would be done",
    "dry_run": "nothing would be done; `rnnpipe plan` shows what would",
}


class DataflowEngine(Engine):
    """Dataflow, which has machines of its own, retries by itself, and needs no launcher.

    Args:
        options: `runner.options`, with `project`, `region` and `temp_location`.
        flags: of the command line.

    Raises:
        UserError: if one of the three is missing, a value is not what Beam expects, or Beam's parts for
            Google Cloud are not installed.
    """

    elsewhere = True
    detaches = True
    ours: ClassVar[dict[str, Any]] = {
        "save_main_session": False,
        # One process on a worker: several would each hold TensorFlow and its threads.
        "experiments": [_ONE_PROCESS],
        "beam_plugins": [WORKER],
        # What goes wrong is in the nodes' status objects.
        "default_sdk_harness_log_level": "CRITICAL",
    }

    def __init__(self, options: Mapping[str, Any], flags: Sequence[str] = ()) -> None:
        self._flags = beam_options(_unless_many(self.ours, options, flags), options, flags)
        refuse_unknown(self._flags, "the Dataflow runner")
        self._options = PipelineOptions(self._flags).view_as(GoogleCloudOptions)
        self._check()
        try:
            from pipeline.engines.dataflow_api import DataflowApi
        except ImportError as error:
            raise UserError(
                f"runner: type dataflow needs Beam's parts for Google Cloud, and {error}. Install them: pip "
                "install 'rnnpipe[gcp,gcs]'"
            ) from error
        self._api = DataflowApi(self._options)

    def submit(self, build: Build, name: str, packages: Sequence[Path] = ()) -> Job:
        """Has Dataflow run a pipeline, unless it already runs one of this name."""
        from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

        from pipeline.engines.dataflow_api import NameTakenError
        from pipeline.engines.package import staging_options

        self._api.sign_in()
        self._api.look_at_buckets()
        label = re.sub(r"-[0-9a-f]+$", "", name.removeprefix("rnnpipe-"))
        ours = [f"--job_name={name}", f"--label=rnnpipe={label}"]
        flags = [*self._flags, *ours, *staging_options(packages)]
        with self._api.submitting():
            pipeline = beam.Pipeline(runner=DataflowRunner(), options=PipelineOptions(flags))
        build(pipeline)
        try:
            with self._api.submitting():
                id = pipeline.run().job_id()
        except NameTakenError:
            address = self._active(name)
        else:
            address = Address(self._options.project, self._options.region, id)
        return self._job(address, name)

    def find(self, note: JobNote) -> Job | None:
        """Asks Dataflow for a job, in the project and region that it was submitted to."""
        self._api.sign_in()
        address = Address.parsed(note.id)
        return self._job(address, note.name) if address and self._api.knows(address) else None

    def _active(self, name: str) -> Address:
        try:
            return self._api.active(name)
        except JobUnreachableError as error:  # no run knows the job yet
            raise UserError(f"runner: an active job has the name {name}, but {error}. Run again.") from error

    def _job(self, address: Address, name: str) -> Job:
        from pipeline.engines.dataflow_job import DataflowJob

        return DataflowJob(self._api, address, name)

    def _check(self) -> None:
        given = self._options.get_all_options()
        if missing := [name for name in _NEEDED if not given[name]]:
            wanted = "; ".join(f"{name}: {_NEEDED[name]}" for name in missing)
            raise UserError(
                f"runner: type dataflow needs {' and '.join(missing)}, which neither runner.options nor a "
                f"flag after -- gives. Expected {wanted}. docs/dataflow.md says how to come by them."
            )
        for name in _IN_BUCKETS:
            if given[name] and not re.fullmatch(r"gs://[^/]+/.+", given[name]):
                raise UserError(
                    f"runner: received {name} '{given[name]}', expected a folder in a bucket, such as "
                    "gs://my-bucket/temp"
                )
        for name, reason in _NO_RUN.items():
            if given[name]:
                raise UserError(f"runner: received the option {name}, which cannot be set: {reason}")


def _unless_many(
    ours: Mapping[str, Any], given: Mapping[str, Any], flags: Sequence[str]
) -> Mapping[str, Any]:
    """Leaves the single process out where the user asks for several; Beam would hand on both."""
    asked = PipelineOptions(beam_options({}, given, flags)).get_all_options()["experiments"] or []
    return {**ours, "experiments": []} if _MANY_PROCESSES in asked else ours
