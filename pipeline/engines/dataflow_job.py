"""A job of Dataflow."""

from __future__ import annotations

import re
import time

from google.cloud.dataflow import JobState

from pipeline.engines.dataflow_address import Address
from pipeline.engines.dataflow_api import ENDED, DataflowApi
from pipeline.engines.engine import Job, JobEndedError, JobFailedError, JobNote

_LOOK = 5.0  # seconds between two questions for the state
_LAST_WORDS = 50.0  # seconds in which the reason of a failure arrives
_LOST_WORKER = re.compile(
    r"worker lost contact|lost contact with the service|SDK disconnect|SDK harness .*disconnected"
    r"|SDK worker appears to be dead|workers? .*(preempted|terminated)|out of memory|ran out of memory",
    re.IGNORECASE,
)


class DataflowJob(Job):
    """A job of Dataflow, which goes on whatever becomes of this process.

    Args:
        api: of Dataflow.
        address: of the job.
        name: of the job.
    """

    def __init__(self, api: DataflowApi, address: Address, name: str) -> None:
        self._api = api
        self._address = address
        self._name = name

    @property
    def note(self) -> JobNote:
        """How it is found again, also from a configuration of another project or region."""
        return JobNote("dataflow", str(self._address), self._name, self._address.page)

    def wait(self) -> None:
        """Asks for its state every few seconds."""
        while (state := self._api.state(self._address)) not in ENDED:
            time.sleep(_LOOK)
        if state == JobState.JOB_STATE_DONE:
            return
        page = self._address.page
        if state != JobState.JOB_STATE_FAILED:
            what = state.name.removeprefix("JOB_STATE_").lower()
            raise JobEndedError(f"its job {self._address.id} was {what} ({page})")
        errors = self._last_words()
        why = max(reversed(errors), key=_rank).strip() if errors else "Dataflow does not say why"
        lost = any(_LOST_WORKER.search(error) for error in errors)
        raise JobFailedError(f"{why} ({page})", lost)

    def cancel(self) -> None:
        """Asks Dataflow to stop it, which takes some minutes.

        Raises:
            UserError: if it could not be asked.
        """
        self._api.cancel(self._address)

    def _last_words(self) -> list[str]:
        """What it calls errors; they arrive some time after the end."""
        began = time.monotonic()
        while not (errors := self._api.errors(self._address)) and time.monotonic() - began < _LAST_WORDS:
            time.sleep(1)
        return errors


def _rank(error: str) -> int:
    """How much an error says: a traceback more than the list of the workers that tried."""
    if "work item was attempted" in error:
        return 0
    return 2 if "Traceback" in error else 1
