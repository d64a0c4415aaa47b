"""A stand-in for Dataflow's API: keeps jobs, checks what it is sent, has jobs come to their ends.

It speaks REST as the service does to Beam's unmodified client, by the message types of Google's own client
library, so that a field which does not exist is refused.
"""

import contextlib
import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from google.api_core.exceptions import BadRequest, GoogleAPICallError, NotFound, Unauthenticated
from google.cloud import dataflow
from google.cloud.dataflow import JobState

PROJECT, REGION = "a-project", "europe-west1"
TOKEN = "a-token"

_JOBS = re.compile(rf"/v1b3/projects/{PROJECT}/locations/([a-z0-9-]+)/jobs(?:/([^/]+)(/messages)?)?")
_BEFORE_WORK = (JobState.JOB_STATE_QUEUED, JobState.JOB_STATE_PENDING, JobState.JOB_STATE_RUNNING)
_ENDED = (
    JobState.JOB_STATE_DONE,
    JobState.JOB_STATE_FAILED,
    JobState.JOB_STATE_CANCELLED,
    JobState.JOB_STATE_DRAINED,
    JobState.JOB_STATE_UPDATED,
)


class KeptJob:
    """A job of the stand-in: what was sent, how it stands, and what is told of it."""

    def __init__(self, number, sent, work):
        self.sent = sent
        self.id = f"2026-11-29_00_00_{number:02}-{number}"
        self.states = iter(_BEFORE_WORK)
        self.state = JobState.JOB_STATE_STOPPED
        self.requested = JobState.JOB_STATE_UNKNOWN
        self.messages = []
        self._work = work

    def look(self):
        """Goes on by one state, as time passes between two questions."""
        if self.state in _ENDED:
            return
        if self.requested == JobState.JOB_STATE_CANCELLED:
            cancelling = self.state == JobState.JOB_STATE_CANCELLING
            self.state = JobState.JOB_STATE_CANCELLED if cancelling else JobState.JOB_STATE_CANCELLING
            return
        before = self.state
        self.state = next(self.states, self.state)
        if before != self.state == JobState.JOB_STATE_RUNNING:
            self._work(self)

    def end(self, state, *errors):
        """Ends it; errors are told of it from then on."""
        self.messages += errors
        self.state = JobState[f"JOB_STATE_{state}"]

    def answer(self):
        """Returns what the service says of it."""
        return dataflow.Job(
            id=self.id,
            name=self.sent.name,
            project_id=PROJECT,
            location=REGION,
            current_state=self.state,
            requested_state=self.requested,
            client_request_id=self.sent.client_request_id,
        )


class DataflowService:
    """Keeps jobs; a context manager that listens while its block lasts."""

    def __init__(self):
        self.jobs = []
        self.requests = []
        """Of every request its method and path."""
        self.work = lambda job: None
        """Called with a job that begins to run, which it may end."""
        self.refuses_names = False
        """Whether a name that is taken is refused, where the service else returns the job that has it."""
        self.faults = []
        """(method, status): how the next request of a method is answered; by 0 the connection breaks."""
        self.loses_answers = 0
        """How many submissions are taken without an answer."""
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *nothing):
        self._server.shutdown()
        self._server.server_close()

    path = f"/v1b3/projects/{PROJECT}/locations/{REGION}/jobs"

    @property
    def endpoint(self):
        return f"http://localhost:{self._server.server_port}"

    def answer(self, method, path, query, headers, body):
        """Answers a request; raises what the service would say instead."""
        self.requests.append((method, path))
        if path == "/token":
            return {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        if not headers.get("Authorization", "").startswith("Bearer "):
            raise Unauthenticated("Request is missing required authentication credential")
        match = _JOBS.fullmatch(path)
        if match is None or match[1] != REGION:
            raise NotFound(f"no such place: {path}")
        with self._lock:
            if match[2] is None:
                message = self._create(body) if method == "POST" else self._list(query)
            else:
                job = self._find(match[2])
                message = self._messages(job, query) if match[3] else self._job(job, method, body)
        return json.loads(type(message).to_json(message, use_integers_for_enums=True))

    def _create(self, body):
        sent = dataflow.Job.from_json(body)
        for field in (sent.name, sent.environment.temp_storage_prefix, sent.environment.worker_pools):
            if not field:
                raise BadRequest("The workflow could not be created: a field is missing")
        for job in self.jobs:
            if job.sent.client_request_id == sent.client_request_id:
                return job.answer()  # it was taken, and the answer lost
            if job.sent.name == sent.name and job.state not in _ENDED:
                if self.refuses_names:
                    error = GoogleAPICallError(f"There is already an active job named {sent.name}")
                    error.code = 409
                    raise error
                return job.answer()
        job = KeptJob(next(self._numbers), sent, lambda job: self.work(job))
        self.jobs.append(job)
        if self.loses_answers:
            self.loses_answers -= 1
            raise ConnectionError
        return job.answer()

    def _list(self, query):
        active = query.get("filter") == [str(int(dataflow.ListJobsRequest.Filter.ACTIVE))]
        (name,) = query.get("name", [""])
        jobs = [job for job in self.jobs if name in ("", job.sent.name)]
        return dataflow.ListJobsResponse(
            jobs=[job.answer() for job in jobs if not active or job.state not in _ENDED]
        )

    def _find(self, id):
        for job in self.jobs:
            if job.id == id:
                return job
        raise NotFound(f"({id}) Information about job {id} could not be found in our system.")

    def _job(self, job, method, body):
        if method == "PUT":
            if job.state in _ENDED:
                raise BadRequest("Job state cannot be changed: it has ended")
            job.requested = dataflow.Job.from_json(body).requested_state
        else:
            job.look()
        return job.answer()

    def _messages(self, job, query):
        assert query["minimumImportance"] == [str(int(dataflow.JobMessageImportance.JOB_MESSAGE_ERROR))]
        return dataflow.ListJobMessagesResponse(
            job_messages=[
                dataflow.JobMessage(
                    message_text=text, message_importance=dataflow.JobMessageImportance.JOB_MESSAGE_ERROR
                )
                for text in job.messages
            ]
        )


def _handler(service):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *nothing):
            """Keeps quiet."""

        def _answer(self):
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = 200
            fault = next((fault for fault in service.faults if fault[0] == self.command), None)
            if fault and parts.path != "/token":
                service.faults.remove(fault)
                status, said = fault[1], {"error": {"message": "a fault", "code": fault[1]}}
                if status == 0:
                    self.close_connection = True
                    return
            else:
                try:
                    said = service.answer(
                        self.command, parts.path, parse_qs(parts.query), self.headers, body.decode()
                    )
                except ConnectionError:
                    self.close_connection = True
                    return
                except GoogleAPICallError as error:
                    status = int(error.code)
                    said = {"error": {"message": error.message, "code": status}}
                except Exception as error:  # what the types of the client library refuse
                    status, said = 400, {"error": {"message": repr(error), "code": 400}}
            answer = json.dumps(said).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815

    return Handler
