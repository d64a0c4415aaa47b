"""What is asked of Dataflow's API, and with how much patience."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import google.auth
import requests
from apache_beam.internal.gcp.auth import get_service_credentials
from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError
from google.api_core.exceptions import Conflict, GoogleAPICallError, GoogleAPIError, NotFound
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import dataflow
from google.cloud.dataflow import JobState

from components.errors import UserError
from pipeline.engines.dataflow_address import Address
from pipeline.engines.engine import JobFailedError, JobUnreachableError

Answer = TypeVar("Answer")

_ANSWER = 30.0  # seconds for one answer
_PAUSE = 5.0  # seconds until a question is asked again
_PATIENCE = 600.0  # seconds without any answer until the service counts as unreachable
_SHORT = 30.0  # the same, where somebody waits for the job to begin
_NEW = 60.0  # seconds in which a job that was just taken may not be known everywhere
_PASSING = {408, 429}  # statuses that pass, as all from 500 on do


class NameTakenError(Exception):
    """An active job has the name already."""


class DataflowApi:
    """Asks Dataflow for jobs.

    Args:
        options: with project, region, endpoint, and whose credentials count.
    """

    def __init__(self, options: GoogleCloudOptions) -> None:
        self._options = options
        self._jobs: Any = None
        self._messages: Any = None

    def sign_in(self) -> None:
        """Makes the clients.

        Raises:
            UserError: if there are no credentials.
        """
        if self._jobs is not None:
            return
        given = {
            "credentials": self._credentials(),
            "transport": "rest",
            "client_options": {"api_endpoint": self._options.dataflow_endpoint.rstrip("/")},
        }
        self._jobs = dataflow.JobsV1Beta3Client(**given)
        self._messages = dataflow.MessagesV1Beta3Client(**given)

    def look_at_buckets(self) -> None:
        """Asks for the buckets where Beam puts files, which Beam would try for ten minutes.

        Raises:
            UserError: if one is not there, or is not for this user.
        """
        client = create_storage_client(self._options, not self._options.no_auth)
        for location in filter(None, (self._options.temp_location, self._options.staging_location)):
            bucket = location.split("/")[2]
            try:
                client.get_bucket(bucket)
            except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
                raise UserError(
                    f"runner: the bucket of {location} cannot be used: {_text(error)}. Expected one of this "
                    f"project that you may write to: gcloud storage buckets create gs://{bucket}"
                ) from error

    @contextlib.contextmanager
    def submitting(self) -> Iterator[None]:
        """Has errors of a submission speak to people.

        Raises:
            NameTakenError: in the block, if an active job has the name.
            UserError: in the block, if Google Cloud does not take the job, or cannot be reached.
        """
        try:
            yield
        except (DataflowJobAlreadyExistsError, Conflict) as error:
            raise NameTakenError from error
        except (GoogleAPIError, GoogleAuthError, OSError, ValueError) as error:
            raise UserError(
                f"runner: Dataflow did not take the job: {_text(error)}. docs/dataflow.md says what a "
                "project needs, and which rights."
            ) from error

    def state(self, address: Address) -> JobState:
        """Returns a job's state.

        Raises:
            JobUnreachableError: if there is no answer for long.
            JobFailedError: if Dataflow does not know the job.
        """
        try:
            job = self._ask(lambda: self._jobs.get_job(address.fields(), timeout=_ANSWER), _PATIENCE)
        except NotFound as error:
            raise JobFailedError(f"Dataflow does not know its job {address.id}: {_text(error)}") from error
        return JobState(job.current_state)

    def knows(self, address: Address) -> bool:
        """Whether Dataflow knows a job that was taken a while ago.

        Raises:
            JobUnreachableError: if there is no answer.
        """
        try:
            self._ask(lambda: self._jobs.get_job(address.fields(), timeout=_ANSWER), _SHORT, 2 * _PAUSE)
        except NotFound:
            return False
        return True

    def active(self, name: str) -> Address:
        """Returns the one active job of a name.

        Raises:
            UserError: if there is none, or it is about to end, or there is no answer.
        """
        options = self._options
        request = dataflow.ListJobsRequest(
            project_id=options.project,
            location=options.region,
            name=name,
            filter=dataflow.ListJobsRequest.Filter.ACTIVE,
        )
        jobs = self._ask(lambda: list(self._jobs.list_jobs(request, timeout=_ANSWER)), _SHORT)
        for job in jobs:
            if job.name != name or job.current_state in ENDED:
                continue
            address = Address(options.project, options.region, job.id)
            if not _CANCELLED & {JobState(job.current_state), JobState(job.requested_state)}:
                return address
            raise UserError(
                f"runner: the job {name} of an earlier command is being cancelled, and Dataflow takes no "
                f"other of this name before that is done. Run again in a few minutes: {address.page}"
            )
        raise UserError(f"runner: Dataflow had an active job {name}, which has ended now. Run again.")

    def errors(self, address: Address) -> list[str]:
        """Returns what Dataflow calls errors of a job, oldest first."""
        request = dataflow.ListJobMessagesRequest(
            **address.fields(), minimum_importance=dataflow.JobMessageImportance.JOB_MESSAGE_ERROR
        )
        messages = self._ask(
            lambda: list(self._messages.list_job_messages(request, timeout=_ANSWER)), _PATIENCE
        )
        return [message.message_text for message in messages if message.message_text]

    def cancel(self, address: Address) -> None:
        """Asks for the end of a job.

        Raises:
            UserError: if it goes on.
        """
        wanted = dataflow.Job(requested_state=JobState.JOB_STATE_CANCELLED)
        request = dataflow.UpdateJobRequest(**address.fields(), job=wanted)
        try:
            self._ask(lambda: self._jobs.update_job(request, timeout=_ANSWER), _PAUSE)
        except (NotFound, JobUnreachableError) as error:
            with contextlib.suppress(Exception):
                if JobState(self._jobs.get_job(address.fields(), timeout=_ANSWER).current_state) in ENDED:
                    return
            raise UserError(
                f"the job could not be told to stop, and may go on at your cost: {_text(error)}. Stop it "
                f"there: {address.page}"
            ) from error

    def _ask(self, question: Callable[[], Answer], patience: float, unknown: float = _NEW) -> Answer:
        """Asks again for a while.

        Args:
            question: of the service.
            patience: seconds without an answer.
            unknown: seconds in which the service does not know what it is asked for.

        Raises:
            NotFound: if it does not know it then.
            JobUnreachableError: if there is no answer then, or the service refuses to give one.
        """
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            try:
                return question()
            except NotFound:
                if waited > unknown:
                    raise
            except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
                if not _passes(error):
                    raise JobUnreachableError(f"Dataflow refuses to answer: {_text(error)}") from error
                if waited > patience:
                    raise JobUnreachableError(
                        f"Dataflow has not answered for {waited:.0f} s: {_text(error)}"
                    ) from error
            time.sleep(_PAUSE)

    def _credentials(self) -> Any:
        if self._options.no_auth:
            return AnonymousCredentials()
        try:
            google.auth.default()  # Beam would try for half a minute
        except DefaultCredentialsError as error:
            raise UserError(
                "runner: Dataflow needs credentials of Google Cloud, and there are none here. Run `gcloud "
                "auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the key file of "
                "a service account."
            ) from error
        found = get_service_credentials(self._options)
        if found is None:
            raise UserError(
                "runner: the credentials of Google Cloud that are here cannot be used. Log in again: `gcloud "
                "auth application-default login`; see that impersonate_service_account, if set, is right."
            )
        return found.get_google_auth_credentials()


ENDED = {
    JobState.JOB_STATE_DONE,
    JobState.JOB_STATE_FAILED,
    JobState.JOB_STATE_CANCELLED,
    JobState.JOB_STATE_DRAINED,
    JobState.JOB_STATE_UPDATED,
}
_CANCELLED = {JobState.JOB_STATE_CANCELLING, JobState.JOB_STATE_CANCELLED}


def _passes(error: Exception) -> bool:
    """Whether another try may have an answer."""
    if isinstance(error, GoogleAPICallError):
        return error.code is None or error.code in _PASSING or error.code >= 500
    return not isinstance(error, GoogleAuthError) or isinstance(error, TransportError)


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else ""  # the rest is for programs
    text = str(getattr(error, "message", "") or first).strip()
    return (text or type(error).__name__).rstrip(".")
