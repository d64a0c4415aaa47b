"""Any engine that speaks Beam's job API: Prism, Flink, Spark."""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc as services
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner

from components.errors import UserError
from pipeline.engines.engine import Build, Engine, Job, JobEndedError, JobFailedError, JobNote
from pipeline.engines.options import beam_options, unknown
from pipeline.engines.processes import WORKER

Answer = TypeVar("Answer")

_LOOK = 1.0  # seconds between two questions for the state
_ANSWER = 10.0  # seconds for one answer
_PATIENCE = 30.0  # seconds without any answer until the engine counts as lost
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# Prism itself stumbles at times over what a worker leaves that is gone: its channel is closed.
_LOST_WORKER = re.compile(
    r"worker disconnected|lost contact|failed to connect|worker .*(terminated|died|lost)"
    r"|panic in stage\.Execute.*send on closed channel",
    re.I,
)


class PortableEngine(Engine):
    """An engine behind a job endpoint.

    Args:
        options: `runner.options`, with `job_endpoint`.
        flags: of the command line.

    Raises:
        UserError: if there is no job endpoint, or a value is not what Beam expects.
    """

    elsewhere = True
    detaches = True
    ours: ClassVar[dict[str, Any]] = {
        "save_main_session": False,
        "beam_plugins": [WORKER],
        # What goes wrong is in the nodes' status objects.
        "default_sdk_harness_log_level": "CRITICAL",
    }

    def __init__(self, options: Mapping[str, Any], flags: Sequence[str] = ()) -> None:
        self._flags = beam_options(self.ours, options, flags)
        self._endpoint = PipelineOptions(self._flags).view_as(PortableOptions).job_endpoint
        if not self._endpoint:
            raise UserError(
                "runner: type portable expects the address of an engine's job service, such as "
                "options: {job_endpoint: localhost:8073}; docs/runners.md says how to start one."
            )

    def submit(self, build: Build, name: str, packages: Sequence[Path] = ()) -> Job:
        """Has the engine run a pipeline."""
        from pipeline.engines.package import staging_options

        self._reach()
        # Engines number their jobs, from one again after a restart: without a name that is never used twice,
        # workers of a job that died with its engine are taken for those of the next one.
        name = f"{name}-{uuid.uuid4().hex[:8]}"
        flags = [*self._flags, *staging_options(packages)]
        pipeline = beam.Pipeline(runner=_Named(name), options=PipelineOptions(flags))
        build(pipeline)
        try:
            result = pipeline.run()
        except grpc.RpcError as error:
            raise UserError(
                f"runner: the engine at {self._endpoint} did not take the job: {_text(error)}"
            ) from error
        note = JobNote("portable", result._job_id, name)
        return PortableJob(self._service(), note, self._endpoint)

    def find(self, note: JobNote) -> Job | None:
        """Asks the engine for its jobs."""
        self._reach()
        job = PortableJob(self._service(), note, self._endpoint)
        return job if job.is_known() else None

    def _service(self) -> services.JobServiceStub:
        return services.JobServiceStub(grpc.insecure_channel(self._endpoint))

    def _reach(self) -> None:
        with grpc.insecure_channel(self._endpoint) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=_ANSWER)
            except grpc.FutureTimeoutError:
                raise UserError(
                    f"runner: nothing answers at {self._endpoint}, the job_endpoint; start the engine, or "
                    "name another endpoint. docs/runners.md says how."
                ) from None


class PortableJob(Job):
    """A job of an engine that speaks Beam's job API.

    Args:
        service: of the engine.
        note: of the job.
        endpoint: of the engine, for people.
    """

    def __init__(self, service: services.JobServiceStub, note: JobNote, endpoint: str) -> None:
        self._service = service
        self._note = note
        self._endpoint = endpoint
        self._errors: list[str] = []

    @property
    def note(self) -> JobNote:
        """How it is found again."""
        return self._note

    def wait(self) -> None:
        """Asks for its state every second."""
        messages = threading.Thread(target=self._listen, name="messages", daemon=True)
        messages.start()
        while (state := self._ask(self._state)) not in _ENDED:
            time.sleep(_LOOK)
        if state == api.JobState.DONE:
            return
        messages.join(_ANSWER)  # the last ones say why
        why = self._errors[-1] if self._errors else ""
        if state == api.JobState.FAILED:
            lost_worker = any(map(_LOST_WORKER.search, self._errors))
            raise JobFailedError(why or "the engine does not say why", lost_worker)
        raise JobEndedError(f"its job {self._note.id} was {api.JobState.Enum.Name(state).lower()}")

    def cancel(self) -> None:
        """Asks the engine to stop it."""
        try:
            self._service.Cancel(api.CancelJobRequest(job_id=self._note.id), timeout=_ANSWER)
        except grpc.RpcError as error:
            raise UserError(
                f"the engine at {self._endpoint} could not be told to stop the job {self._note.name}, "
                f"which may go on: {_text(error)}"
            ) from error

    def is_known(self) -> bool:
        """Whether the engine knows it; another engine may have taken the place of the one that did."""
        try:
            jobs = self._ask(lambda: self._service.GetJobs(api.GetJobsRequest(), timeout=_ANSWER)).job_info
        except JobFailedError as error:  # no job of this command has
            raise UserError(f"runner: {error}") from error
        return any((job.job_id, job.job_name) == (self._note.id, self._note.name) for job in jobs)

    def _state(self) -> int:
        answer = self._service.GetState(api.GetJobStateRequest(job_id=self._note.id), timeout=_ANSWER)
        return int(answer.state)

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """Asks again for a while, as a connection may break."""
        began = time.monotonic()
        while True:
            try:
                return question()
            except grpc.RpcError as error:
                if error.code() not in _UNREACHABLE:
                    raise JobFailedError(f"the engine at {self._endpoint} says: {_text(error)}") from error
                if time.monotonic() - began > _PATIENCE:
                    raise JobFailedError(
                        f"the engine at {self._endpoint} has not answered for {_PATIENCE:.0f} s; see whether "
                        "it still runs, or start it again"
                    ) from error
            time.sleep(_LOOK)

    def _listen(self) -> None:
        """Collects what the engine calls errors; without them only the reason is missing."""
        with contextlib.suppress(grpc.RpcError):
            for message in self._service.GetMessageStream(api.JobMessagesRequest(job_id=self._note.id)):
                answer = message.message_response
                if answer.importance == api.JobMessage.JOB_MESSAGE_ERROR:
                    self._errors.append(answer.message_text)


_ENDED = {
    api.JobState.DONE,
    api.JobState.FAILED,
    api.JobState.CANCELLED,
    api.JobState.DRAINED,
    api.JobState.UPDATED,
}


class _Named(PortableRunner):
    """Submits under a name, where Beam calls every job "job"."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def create_job_service_handle(self, job_service: Any, options: PipelineOptions) -> JobServiceHandle:
        return _NamedHandle(job_service, options, self._name)


class _NamedHandle(JobServiceHandle):
    def __init__(self, job_service: Any, options: PipelineOptions, name: str) -> None:
        super().__init__(job_service, options)
        self._name = name

    def prepare(self, proto_pipeline: Any) -> api.PrepareJobResponse:
        return self.job_service.Prepare(
            api.PrepareJobRequest(
                job_name=self._name, pipeline=proto_pipeline, pipeline_options=self.get_pipeline_options()
            ),
            timeout=self.timeout,
        )

    def get_pipeline_options(self) -> Any:
        """Refuses what neither Beam nor the engine knows, which Beam would only log."""
        described = self.job_service.DescribePipelineOptions(
            api.DescribePipelineOptionsRequest(), timeout=self.timeout
        )
        known = {option.name for option in described.options}
        for flag in unknown(self.options._flags):
            name = flag.lstrip("-").partition("=")[0]
            if name not in known:
                raise UserError(
                    f"runner: received the option {name}, which neither Beam nor the engine knows"
                )
        return super().get_pipeline_options()


def _text(error: grpc.RpcError) -> str:
    return str(error.details() or error.code())
