"""What runs the Beam job, in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.strict import Strict

Option = bool | int | float | str | list[str]

OURS = {
    "runner": "runner.type says what runs the job",
    "job_name": "the job's name follows from the plan, so that a later command finds it",
    "streaming": "the job ends, with its data",
    "setup_file": "rnnpipe brings its own package to the workers",
}
"""Options of Beam that are rnnpipe's to set, and why."""


class _Runner(Strict):
    options: Mapping[str, Option] = Field(default_factory=dict)
    """Options of Beam and of the engine, by their names without dashes, such as `direct_num_workers: 4`.
    `true` sets a flag, a list gives a flag several times. `rnnpipe run CONFIG -- --name=value` sets them for
    one run."""

    @field_validator("options")
    @classmethod
    def _are_names(cls, options: Mapping[str, Option]) -> Mapping[str, Option]:
        for name in options:
            plain = name.lstrip("-").replace("-", "_")
            if not name.isidentifier():
                raise ValueError(f"received {name!r}, expected the name of an option, such as {plain}")
            if name in OURS:
                raise ValueError(f"received {name!r}, which cannot be set: {OURS[name]}")
        return options


class _Elsewhere(_Runner):
    shared_files: bool = False
    """Whether all workers see the same local files under the same paths as the launcher, as on a shared disk.
    Otherwise root and data must be in an object store. Tried before anything runs."""


class LocalRunner(_Runner):
    """In this process."""

    type: Literal["local"]


class ProcessesRunner(_Runner):
    """In as many worker processes on this machine as it has cores."""

    type: Literal["processes"]


class PortableRunner(_Elsewhere):
    """On an engine that speaks Beam's job API, such as Prism, Flink or Spark: docs/runners.md.

    `options.job_endpoint` says where it takes jobs.
    """

    type: Literal["portable"]


class DataflowRunner(_Elsewhere):
    """On Google Cloud Dataflow: docs/dataflow.md.

    Needs `options.project`, `options.region` and `options.temp_location`, an address that begins with gs://.
    """

    type: Literal["dataflow"]


Runner = Annotated[
    LocalRunner | ProcessesRunner | PortableRunner | DataflowRunner, Field(discriminator="type")
]
