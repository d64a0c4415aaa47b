"""Where a job of Dataflow is."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """Which job it is, of all that Dataflow has.

    Args:
        project: of Google Cloud.
        region: of the job.
        id: of the job in them.
    """

    project: str
    region: str
    id: str

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.region}/jobs/{self.id}"

    @classmethod
    def parsed(cls, text: str) -> Address | None:
        """Reads an address; None if it is none."""
        match = re.fullmatch(r"projects/([^/]+)/locations/([^/]+)/jobs/([^/]+)", text)
        return cls(*match.groups()) if match else None

    @property
    def page(self) -> str:
        """Where people can look at it."""
        return (
            f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.id}?project={self.project}"
        )

    def fields(self) -> dict[str, str]:
        """Returns what requests name it by."""
        return {"project_id": self.project, "location": self.region, "job_id": self.id}
