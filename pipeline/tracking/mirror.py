"""The mirror of a run in MLflow: what MLflow is to have is compared with what it has, and the rest is sent.

A pipeline run is a parent run with a run for each of its trials. Which runs these are is settled by files in
the run's folder, which are created exclusively. All times are the record's, so that it makes no difference
which process sends something, when, and how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from components import files
from components.addresses import file_address
from components.errors import UserError
from components.redaction import without_password
from pipeline.run.folder import RunFolder
from pipeline.run.record import RunRecord
from pipeline.tracking.contents import Contents
from pipeline.tracking.mlflow_client import (
    Failure,
    absolute_uri,
    database_path,
    failure_of,
    open_client,
)
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.part import RUN, Part, Point, clean_name
from pipeline.tracking.stage_parts import Artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_RECORD, _PARENT, _TRIAL = "rnnpipe.run", "mlflow.parentRunId", "rnnpipe.trial"  # tags
_FOLDER_LENGTH = 200  # bytes
_PAGE = 1000  # runs
_TRIES = 8  # at creating what other processes create, too; with every failure one of them has succeeded


class Mirror:
    """Brings MLflow to what is known of one run.

    Args:
        uri: where MLflow keeps its runs: sqlite:///mlflow.db or a server's address. A relative database path
            is meant from the working directory of this moment.
        folder: of the run.
    """

    def __init__(self, uri: str, folder: RunFolder) -> None:
        self.uri = absolute_uri(uri)
        """Where MLflow keeps its runs."""
        self.error: Exception | None = None
        """The most recent failure."""
        self._folder = folder
        self._contents = Contents(folder)
        self._client: MlflowClient | None = None
        self._runs: dict[str, MlflowRun] = {}  # by the ids of trials, and RUN
        self._trials: dict[str, list[Run]] | None = None  # that were there and are not open yet, by trial
        self._experiment_id = ""
        self._is_sweep = False
        self._arrived: dict[tuple[str, str], Part] = {}

    def sync(self, record: RunRecord, artifacts: Artifacts) -> bool:
        """Sends what MLflow does not have.

        Args:
            record: the run's, as it is now.
            artifacts: gives those of its nodes.

        Returns:
            Whether something failed that another try may bring.
        """
        self.error, again, looked = None, False, set[str]()
        self._is_sweep = bool(record.rungs)
        try:
            parts = self._contents.parts(record, artifacts)
        except Exception as error:  # of the store
            self.error = error
            return True
        left = self._left(parts)
        for part in left:
            try:
                self._deliver(part, looked, record, parts, left)
                self._arrived[part.of, part.label] = part
            except Exception as error:
                self.error, failure = error, failure_of(error)
                again = again or failure is not Failure.PERMANENT
                if failure is Failure.UNREACHABLE or RUN not in self._runs:
                    break
        return again

    def missing(self, record: RunRecord, artifacts: Artifacts) -> tuple[str, ...]:
        """Names, for people, what is not known to have arrived.

        Args:
            record: the run's, as it is now.
            artifacts: gives those of its nodes.
        """
        labels = [
            f"trial {part.of}" if record.rungs and part.of != RUN else part.label
            for part in self._left(self._contents.parts(record, artifacts))
        ]
        return tuple(dict.fromkeys(labels if self._runs else ["the run", *labels]))

    def log_sample(self, sample: Sequence[Point]) -> None:
        """Sends metrics of the machine: to the only trial, or to the run where several share the machine."""
        runs = list(self._runs.values())
        runs[1 if len(runs) == 2 and not self._is_sweep else 0].log(sample)

    def _left(self, parts: Sequence[Part]) -> list[Part]:
        return [part for part in parts if self._arrived.get((part.of, part.label)) != part]

    def _deliver(
        self, part: Part, looked: set[str], record: RunRecord, parts: Sequence[Part], left: Sequence[Part]
    ) -> None:
        """Sends what a run lacks of a part; looks again where another process was quicker."""
        for tries_left in reversed(range(_TRIES)):
            try:
                if part.of not in self._runs:
                    self._open(part.of, record, parts)
                if part.of not in looked:
                    self._runs[part.of].look()
                    self._send_together([each for each in left if each.of == part.of])
                    looked.add(part.of)
                self._send(part)
                return
            except Exception as error:
                if not tries_left or failure_of(error) is not Failure.CONFLICT:
                    raise
                looked.discard(part.of)

    def _send_together(self, parts: Sequence[Part]) -> None:
        """Sends the figures of all parts of a run; where that fails they go one by one."""
        run = self._runs[parts[0].of]
        try:
            run.send_figures(parts)
        except Exception as error:
            if failure_of(error) is Failure.UNREACHABLE:
                raise
            run.look()  # some of it may have arrived

    def _send(self, part: Part) -> None:
        run = self._runs[part.of]
        run.send(part)
        if part.champion is not None:
            from pipeline.tracking.registry import register_served

            assert self._client is not None
            register_served(self._client, self.uri, run.id, *part.champion)

    def _open(self, of: str, record: RunRecord, parts: Sequence[Part]) -> None:
        """Finds out which of MLflow's runs the run or a trial is, and makes it if it is not there."""
        client = self._client = self._client or open_client(self.uri)
        if RUN not in self._runs:
            self._experiment_id = self._experiment(client, record.config["tracking"]["experiment"])
            found = self._search(client, {_RECORD: record.id})
            self._runs[RUN] = self._settled(
                client, record, self._first(RUN, parts), {_RECORD: record.id}, found
            )
        if of == RUN:
            return
        parent = {_PARENT: self._runs[RUN].id}
        # One search for all trials, as long as none is lost on its way.
        trials, self._trials = self._trials, None
        if trials is None:
            trials = {}
            for run in self._search(client, parent):
                trials.setdefault(run.data.tags.get(_TRIAL, ""), []).append(run)
        own = {**parent, _TRIAL: of}
        self._runs[of] = self._settled(client, record, self._first(of, parts), own, trials.pop(of, []))
        self._trials = trials

    @staticmethod
    def _first(of: str, parts: Sequence[Part]) -> Part:
        return next(part for part in parts if part.of == of and part.begin is not None)

    def _search(self, client: MlflowClient, wanted: Mapping[str, str]) -> list[Run]:
        """Returns all of MLflow's runs with these tags."""
        where = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in wanted.items())
        found: list[Run] = []
        token: str | None = None
        while token is None or token:
            page = client.search_runs([self._experiment_id], where, max_results=_PAGE, page_token=token)
            found += page
            token = page.token or ""
        return found

    def _settled(
        self,
        client: MlflowClient,
        record: RunRecord,
        part: Part,
        own: Mapping[str, str],
        found: Sequence[Run],
    ) -> MlflowRun:
        """Returns the run, or that of a trial; what else was made of it is deleted.

        Something else is there if two processes were at it, or if one died before it could settle the id.
        """
        runs = {run.info.run_id: run for run in found}
        settled = self._folder.tracked(part.of)
        if not settled:
            if not runs:
                assert part.begin is not None
                name, time = part.begin
                made = client.create_run(self._experiment_id, time, {**part.tags, **own}, name)
                runs[made.info.run_id] = made
            settled = self._folder.note_tracking(without_password(self.uri), min(runs), part.of)
        for other in runs.keys() - {settled}:
            client.delete_run(other)
        return MlflowRun(client, settled, record.config["tracking"]["experiment"], runs.get(settled))

    def _experiment(self, client: MlflowClient, name: str) -> str:
        """Returns the id of the run's experiment, which may be called otherwise by now, or makes it."""
        from mlflow.exceptions import MlflowException

        if run := self._folder.tracked():
            try:
                return str(client.get_run(run).info.experiment_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                where = files.relative(self._folder.place)
                raise UserError(
                    f"it has lost the run {run}; delete tracking*.json in {where} first"
                ) from error
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            database = database_path(self.uri)
            # In many letters a name of a folder has few characters; the ids of runs keep them apart.
            short = clean_name(name).encode()[:_FOLDER_LENGTH].decode(errors="ignore")
            folder = database.parent / "mlartifacts" / short if database else None
            try:
                return str(client.create_experiment(name, folder and file_address(folder)))
            except MlflowException:  # another process was quicker
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            raise UserError(
                f"the experiment {name!r} is deleted; restore it with "
                f"`mlflow experiments restore -x {experiment.experiment_id}`, or change tracking.experiment"
            )
        return str(experiment.experiment_id)
