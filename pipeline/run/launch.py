"""A run's job at its engine: submitted or attached to, waited for, left to itself or stopped."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from components.errors import UserError
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.engines.engine import Engine, Job, JobNote
from pipeline.plan.node import Plan
from pipeline.run.attach import find_attachable
from pipeline.run.folder import RunFolder
from pipeline.run.libraries import import_tensorflow


class Launch:
    """Finds the job of an earlier command with the same plan, or submits one.

    Args:
        config: the run's configuration.
        places: where its things are.
        plan: before a champion is added, which may be another one a moment later.
        engine: what runs the job.
        detach: whether a job is meant to outlive this process.

    Raises:
        UserError: if the engine cannot be reached.
    """

    def __init__(
        self, config: PipelineConfig, places: Places, plan: Plan, engine: Engine, detach: bool
    ) -> None:
        found = find_attachable(places.root, plan.identity, engine, config.runner.type)
        self.attached = found is not None
        """Whether the job was submitted before."""
        self.folder = found.folder if found else RunFolder.new(places.root)
        """Of the run."""
        self.identity = plan.identity
        """Of the plan."""
        self.elsewhere = engine.elsewhere
        """Whether the work is done on other machines."""
        self.detach = detach
        """Whether to leave once the engine has the job."""
        self._job = found.job if found else None
        self._config = config
        self._places = places
        self._plan = plan
        self._engine = engine
        self._left = False

    def works(self, plan: Plan) -> bool:
        """Whether there is a job, or needs to be."""
        return self._job is not None or any(node.in_job for node in plan)

    def submit(self, plan: Plan) -> Job:
        """Returns the job; has the engine take it, and notes which one it is, unless there is one."""
        if self._job is None:
            import_tensorflow()
            from pipeline.run.job import job_name, submit

            name = job_name(self._config.name, self._plan, self._places.root)
            job = submit(self._config, self._places, plan, self.folder, self._engine, name)
            if job.note is not None:
                self._write_down(job, job.note)
            self._job = job
        return self._job

    def leave(self, plan: Plan) -> str:
        """Has the engine take the job; returns what to tell people who do not wait for it."""
        note = self.submit(plan).note
        assert note is not None
        page = f"\n{note.page}" if note.page else ""
        return f"submitted: the {note.engine} job {note.name} ({note.id}) goes on without this command{page}"

    def note(self) -> JobNote | None:
        """Returns how the job is found again; None if there is none, or it ends with this process."""
        return self._job.note if self._job is not None else None

    def stop(self) -> str:
        """Ends the engine's job, unless it is meant to outlive its launcher.

        Returns:
            What was done of the two, for people; empty if the job is done in this process.
        """
        note = self.folder.job() if self.note() is not None else None
        if self._job is None or note is None:
            return ""
        if note.detached:
            return f"the {note.engine} job {note.name} goes on"
        try:
            self._job.cancel()
        except UserError as error:
            self._left = True
            return str(error)
        return f"the {note.engine} job {note.name} was told to stop"

    def goes_on(self) -> bool:
        """Whether the engine's job outlives its launcher: it is meant to, or could not be stopped."""
        note = self.folder.job() if self.note() is not None else None
        return note is not None and (note.detached or self._left)

    def _write_down(self, job: Job, note: JobNote) -> None:
        try:
            self.folder.note_job(replace(note, detached=self.detach))
        except OSError:  # nobody could find it again
            with suppress(UserError):
                job.cancel()
            raise
