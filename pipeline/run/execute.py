"""One run, from the plan to the summary."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.markup import escape

from components import files, stores
from components.artifacts.artifact import Artifact, cache_folder
from components.artifacts.evaluation import Evaluation
from components.artifacts.exported_model import ExportedModel
from components.errors import UserError
from components.evaluate.verdict import Verdict
from components.heartbeat import Heartbeat
from components.redaction import without_password
from components.reports import listening
from pipeline.config import PipelineConfig, resolved
from pipeline.config.places import Places
from pipeline.engines.engine import Engine, JobUnreachableError
from pipeline.engines.local import LocalEngine
from pipeline.plan.node import Plan
from pipeline.run.candidates import RETENTION, champion_node, measured_champion, measured_retention
from pipeline.run.code_version import code_version
from pipeline.run.console import RunDisplay
from pipeline.run.failure import failure_of, kept
from pipeline.run.helpers import end_helpers, end_trials
from pipeline.run.interrupt import EXIT_CODE as INTERRUPTED
from pipeline.run.interrupt import interruptible
from pipeline.run.launch import Launch
from pipeline.run.mirroring import Mirroring
from pipeline.run.observe import Observer
from pipeline.run.picked import picked
from pipeline.run.record import RunRecord
from pipeline.run.summary import Outcome
from pipeline.run.watch import Watcher
from pipeline.serving.deployment import Deployed, Deployment, Sight, fetch_champion, standing
from pipeline.serving.serving_files import write_serving_files
from pipeline.serving.verdict import decide
from pipeline.store.store import Store

if TYPE_CHECKING:
    from components.evaluate.rules import Retained
    from pipeline.report.facts import RunFacts
    from pipeline.tracking.champion import Champion

FAILED = 1
_IN_A_HURRY = 2.0  # seconds that a store is waited for after Ctrl-C, or in vain before
_SERVED = {Evaluation.stage, ExportedModel.stage}  # what a model has gone through that may be pushed

Kind = TypeVar("Kind", bound=Artifact)


class Run:
    """A run: plan, job, verdict, push.

    Args:
        config: the run's configuration.
        console: where to speak.
        command: the one that goes on with it.
        places: where its things are.
        plan: of its nodes.
        store: where artifacts are.
        force: the stages that were asked for.
        verbose: whether failures show the traceback.
        subject: the model that is evaluated, if it was made before.
        engine: what runs the job; by default this process.
        detach: whether to leave once an engine has taken the job.
        page: makes the run's page; by default a card.
    """

    def __init__(
        self,
        config: PipelineConfig,
        console: Console,
        command: str,
        places: Places,
        plan: Plan,
        store: Store,
        force: Collection[str] = (),
        verbose: bool = False,
        subject: str = "",
        engine: Engine | None = None,
        detach: bool = False,
        page: Callable[[RunFacts], str] | None = None,
    ) -> None:
        self._config = config
        self._console = console
        self._command = command
        self._places = places
        self._plan = plan
        self._store = store
        self._launch = Launch(config, places, plan, engine or LocalEngine({}), detach)
        self.goes_on = False
        """Whether the job was left to the engine."""
        self._folder = self._launch.folder
        self.card = self._folder.card
        """Where the run's page belongs."""
        self._subject = subject
        self._page = page
        self._observer = Observer(self._folder, store, own=True)
        self._mirroring = Mirroring(config.tracking, self._folder, self._observer, not self._launch.elsewhere)
        self._deployment = Deployment(config, places.serving, force)
        self._deploys = {node.stage.name for node in plan} >= _SERVED
        self._deployed = Deployed(Verdict(False))
        self._verbose = verbose
        self._stopping = threading.Lock()

    def nothing_to_do(self) -> bool:
        """Whether all artifacts are there, and nothing is left to measure or to push; finds the verdict."""
        if self._launch.attached or any(node.in_job for node in self._plan):
            return False
        if not self._deploys:
            return True
        exported, evaluated = self._model()
        place = self._deployment.place_of(exported)
        if self._deployment.is_settled(exported):
            self._deployed = Deployed(Verdict(True), place)
            self._announce(self._deployed)  # the run that pushed may have been killed before
            return True
        sight = self._deployment.look()
        if self._needs_measuring(sight):
            return False
        verdict = decide(
            self._deployment.situation(sight, exported, evaluated, self._measured, self._retained())
        )
        self._deployed = Deployed(verdict, place)
        return not verdict.blessed

    def execute(self) -> int:
        """Does the work; returns the exit code."""
        with (
            Heartbeat(self._folder.heartbeat),
            interruptible(last_words=self._interrupted) as heard,
            contextlib.closing(self._mirroring),
        ):
            try:
                if not self._work():
                    self.goes_on = True
                    return 0
            except KeyboardInterrupt:
                heard()
                self._interrupted()
                return INTERRUPTED
            except JobUnreachableError as error:  # the record stays open, to be attached to
                self._say(f"left: {error}\nattach: {self._command}")
                self._finish_tracking()
                return FAILED
            except Exception as error:
                # A store that was waited for in vain is not waited for again.
                silent = stores.is_failing(self._places.root)
                with stores.patience(_IN_A_HURRY) if silent else contextlib.nullcontext():
                    self._stop("failed", self._explain(error))
                return FAILED
            self._finish(heard)
        return 0

    def outcome(self) -> Outcome:
        """Returns what came of it."""
        evaluated = self.artifact(Evaluation.stage, Evaluation)
        exported = self.artifact(ExportedModel.stage, ExportedModel)
        last, deployed = self.artifact(self._plan.last.name, Artifact), self._deployed
        best = picked(self._plan, self._folder.pick(), self._config.sweep, self.artifact)
        return Outcome(evaluated, exported, last, deployed.verdict, deployed.place, self.card, best)

    def _work(self) -> bool:
        """Plan, job, verdict, push; returns False if the job goes on without this process."""
        sight = self._deployment.look() if self._deploys else None
        plan = self._plan
        if not self._launch.attached:
            plan, sight = self._with_champion(sight)
            self._begin(plan)
        if not self._run_job(plan):
            return False
        if self._deploys:
            self._deployed = self._deployment.deploy(*self._model(), self._measured, self._retained(), sight)
            self._announce(self._deployed)
        return True

    def _with_champion(self, sight: Sight | None) -> tuple[Plan, Sight | None]:
        """The plan with the champion as one more candidate, if it must be measured."""
        if sight is None or not self._needs_measuring(sight):
            return self._plan, sight
        champion = sight.champion
        assert champion is not None
        folder = hashlib.sha256(champion.identity.encode()).hexdigest()[:16]
        sight, model = fetch_champion(sight, cache_folder() / "champions" / folder)
        if model is None:
            return self._plan, sight
        return self._plan.with_node(champion_node(champion, model, self._plan, self._store)), sight

    def _needs_measuring(self, sight: Sight) -> bool:
        exported = self.artifact(ExportedModel.stage, ExportedModel)
        return standing(sight, exported, self._measured).state == "unmeasured"

    def _measured(self, champion: Champion) -> Evaluation | None:
        evaluated = self.artifact(Evaluation.stage, Evaluation)
        return measured_champion(champion, self._plan, self._store, evaluated)

    def _retained(self) -> Retained | None:
        return measured_retention(*(self.artifact(name, Evaluation) for name in RETENTION))

    def _begin(self, plan: Plan) -> None:
        name, config = self._config.name, resolved(self._config)
        try:
            self._folder.start(name, config, code_version(), plan, self._subject, self._launch.identity)
        except OSError as error:
            raise UserError(
                f"the run cannot be noted in {self._folder.place}: {error.strerror or error}; expected a "
                "root that this user may write to, with room in it. Nothing was run."
            ) from error

    def _run_job(self, plan: Plan) -> bool:
        """Runs the job, or waits for one that runs; returns False if it goes on without this process."""
        works = self._launch.works(plan)
        if self._launch.detach and works:
            self._say(f"{self._launch.leave(plan)}\nattach, and push what comes of it: {self._command}")
            return False
        self._mirroring.start()
        if not works:
            self._say(f"{self._config.name}: nothing to compute, all {len(self._plan)} stages are reused.")
        if note := self._launch.note():
            self._say(f"attached to the {note.engine} job {note.name}")
        with RunDisplay(self._console) as display, listening(display.move):
            watcher = Watcher(self._observer, [display.show, self._mirroring.update])
            with watcher:
                if works:
                    try:
                        self._launch.submit(plan).wait()
                    finally:
                        end_trials()
        return True

    def _interrupted(self) -> None:
        """Ends the run and its job, as far as the store lets it at once; a job that goes on is only left."""
        with stores.patience(_IN_A_HURRY):
            done = self._launch.stop()
            if self._launch.goes_on():
                self._say(f"left: {done}\nattach: {self._command}")
            else:
                self._stop("interrupted", f"by Ctrl-C; {done}" if done else "by Ctrl-C")

    def _announce(self, deployed: Deployed) -> None:
        """Warns of what went wrong, and writes what a server of the model needs."""
        if deployed.warning:
            self._warn(deployed.warning)
        if deployed.verdict.blessed:
            self._write_serving_files()

    def _model(self) -> tuple[ExportedModel, Evaluation]:
        """The run's model, and what was measured of it."""
        exported = self.artifact(ExportedModel.stage, ExportedModel)
        evaluated = self.artifact(Evaluation.stage, Evaluation)
        assert exported is not None and evaluated is not None  # noqa: PT018
        return exported, evaluated

    def _finish(self, heard: Callable[[], None]) -> None:
        """Ends a run in which all is done: an interrupt now only ends the waiting."""
        self._stopping.acquire(blocking=False)
        timeout = 120.0
        try:
            self._end("finished")
        except KeyboardInterrupt:
            heard()
            timeout = 1.0
        self._finish_tracking(timeout, heard)

    def _write_serving_files(self) -> None:
        try:
            write_serving_files(self._places.serving)
        except (OSError, UnicodeError) as error:
            where = files.relative(self._places.serving)
            self._warn(f"no configuration of TensorFlow Serving in {where}: {error}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def _warn(self, message: str) -> None:
        self._console.print(f"[yellow]{escape(message)}[/]", highlight=False, soft_wrap=True)

    def artifact(self, node: str, kind: type[Kind]) -> Kind | None:
        """Returns a node's artifact: that of the job, or one that is reused and cannot turn out otherwise."""
        artifact = self._observer.artifact(node)
        if artifact is None:
            artifact = next(
                (planned.artifact for planned in self._plan if planned.name == node and not planned.in_job),
                None,
            )
        return artifact if isinstance(artifact, kind) else None

    def _record(self) -> RunRecord | None:
        """What is known now, or was when the store could be asked; None if the run never came to begin."""
        try:
            return self._observer.record()
        except Exception:  # a failure is told as far as it can be
            return self._mirroring.latest

    def _finish_tracking(self, timeout: float = 120.0, heard: Callable[[], None] = lambda: None) -> None:
        for problem in self._mirroring.finish(self._record(), timeout, heard):
            self._console.print(f"[yellow]tracking:[/] {escape(problem)}", highlight=False, soft_wrap=True)

    def _end(self, status: str, message: str = "") -> None:
        """Ends the record, and writes the run's page; without the page the run is no failure."""
        from pipeline.report.facts import RunFacts
        from pipeline.report.pages import card_page

        verdict = self._deployed.verdict
        served = str(self._deployed.place) if verdict.blessed else ""
        try:
            self._folder.end(status, message, verdict.as_json() if verdict.reasons else {}, served)
        except OSError as error:
            self._warn(f"the end of the run could not be noted: {error}")
        try:
            record = self._observer.record()
            assert record is not None
            page = (self._page or card_page)(RunFacts.of(record, self._store))
            files.write(self._folder.card, page.encode())
        except Exception as error:
            self._warn(f"no card: {error}")

    def _explain(self, error: Exception) -> str:
        """What went wrong, for people."""
        failure = failure_of(error, self._record(), self._folder)
        if self._verbose:
            self._console.print(escape(without_password(failure.trace)), highlight=False)
        return failure.text(self._verbose)

    def _stop(self, status: str, message: str) -> None:
        if not self._stopping.acquire(blocking=False):
            return  # the thread that watches for interrupts is at it
        end_helpers()
        record = self._record()
        at_work = record.at_work.name if record and record.at_work else None
        where = f" in {at_work}" if at_work else ""
        what = escape(without_password(message).removeprefix(f"{at_work}: "))
        self._console.print(f"[red]{status}{where}:[/] {what}", highlight=False, soft_wrap=True)
        finished = [*kept(record, self._folder)]
        if stores.is_failing(self._places.root):
            finished.append("whatever else the store holds, which does not answer")
        self._console.print(f"kept: {', '.join(finished) or 'nothing yet'}", highlight=False)
        self._console.print(f"go on: {escape(self._command)}", highlight=False, soft_wrap=True)
        if record is None or self._folder.is_gone():
            return  # it never came to begin, or nobody could find it again
        self._end(status, message)
        # After Ctrl-C nobody wants to wait.
        self._finish_tracking(timeout=1.0 if status == "interrupted" else 120.0)
