"""One run, from the plan to the summary."""

from __future__ import annotations

import contextlib
import re
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.markup import escape
from upath import UPath

from components import files
from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.artifacts.exported_model import ExportedModel
from components.errors import UserError
from components.evaluate.verdict import Blessing
from components.heartbeat import Heartbeat
from components.reports import listening
from pipeline.config import PipelineConfig, resolved
from pipeline.config.places import Places
from pipeline.plan.planning import NodePlan, make_plan
from pipeline.run.champion import champion_folder, champion_plan, measured_champion
from pipeline.run.code_version import code_version
from pipeline.run.console import RunDisplay, command_line
from pipeline.run.folder import THE_END, RunFolder
from pipeline.run.interrupt import EXIT_CODE as INTERRUPTED
from pipeline.run.interrupt import interruptible
from pipeline.run.libraries import import_tensorflow, silence_libraries
from pipeline.run.observe import Observer
from pipeline.run.record import DONE, RunRecord
from pipeline.run.summary import Outcome, summarize
from pipeline.run.watch import Watcher
from pipeline.serving.gate import Gate, RunView
from pipeline.serving.serving_files import write_serving_files
from pipeline.store.clean import clean_cheaply
from pipeline.store.store import Store
from pipeline.tracking.mlflow_client import absolute_uri

if TYPE_CHECKING:
    from pipeline.tracking.registry import Champion as ChampionModel
    from pipeline.tracking.tracker import Status, Tracker

FAILED = 1

Found = TypeVar("Found", bound=Artifact)


def run_pipeline(
    config: PipelineConfig,
    console: Console,
    config_file: str,
    overrides: Collection[str] = (),
    until: str | None = None,
    force: Collection[str] = (),
    verbose: bool = False,
) -> int:
    """Plans, runs what must run, pushes what may be pushed, and says what came of it.

    Args:
        config: the run's configuration.
        console: where to speak.
        config_file: how the user named the configuration, for advice.
        overrides: what the user set on the command line, for advice.
        until: last stage wanted; None means all.
        force: stages to run although they could be reused.
        verbose: whether failures show the traceback.

    Returns:
        The exit code: 0, 1 (failed), 3 (the model is not good enough to be pushed) or 130 (interrupted).
    """
    if not verbose:
        silence_libraries()
    places = Places.of(config)
    store = Store(places.root)
    clean_cheaply(places.root)
    plans = make_plan(config, places, store, until, force)
    command = _command(config_file, overrides, until, force, verbose)
    run = _Run(config, console, command, places, plans, store, force, verbose)
    if run.nothing_to_do():
        console.print(f"[bold]{config.name}[/]: nothing to do, all {len(plans)} stages are reused.")
    elif code := run.execute():
        return code
    evaluated, exported = run.artifact("evaluate", Evaluation), run.artifact("export", ExportedModel)
    outcome = Outcome(evaluated, exported, run.last, run.blessing, run.gate.served, run.card)
    return summarize(config, console, config_file, outcome)


def _command(
    config_file: str, overrides: Collection[str], until: str | None, force: Collection[str], verbose: bool
) -> str:
    """The command that goes on with this run."""
    options = [f"--set={override}" for override in overrides]
    options += [f"--until={until}"] if until else []
    options += [f"--force={stage}" for stage in force]
    options += ["--verbose"] if verbose else []
    return command_line("run", config_file, *options)


class _Run:
    """The part of a run that does work."""

    def __init__(
        self,
        config: PipelineConfig,
        console: Console,
        command: str,
        places: Places,
        plans: Sequence[NodePlan],
        store: Store,
        force: Collection[str],
        verbose: bool,
    ) -> None:
        self.blessing = Blessing(False, [])
        """The verdict, once it is found."""
        self._config = config
        self._console = console
        self._command = command
        self._places = places
        self._plans = {plan.name: plan for plan in plans}
        self._store = store
        self._folder = RunFolder.new(places.root)
        self._observer = Observer(self._folder, store)
        self._tracker: Tracker | None = None
        self._force = force
        self._verbose = verbose
        self._served = ""
        self._stopping = threading.Lock()

    @cached_property
    def gate(self) -> Gate:
        """Decides whether the model may be pushed."""
        view = RunView(
            stages=self._plans.keys(),
            exported=lambda: self.artifact("export", ExportedModel),
            evaluated=lambda: self.artifact("evaluate", Evaluation),
            measured_champion=self._measured_champion,
        )
        return Gate(self._config, self._places.serving, view, self._force)

    @property
    def card(self) -> UPath:
        """The run's page."""
        return self._folder.card

    @property
    def last(self) -> Artifact | None:
        """The artifact of the plan's last node, once it is there."""
        return self.artifact(list(self._plans)[-1], Artifact)

    def nothing_to_do(self) -> bool:
        """Whether all artifacts are there, and nothing is left to measure or to push; finds the verdict."""
        if any(plan.in_job for plan in self._plans.values()):
            return False
        if not self.gate.decides:
            return True
        if self.gate.settled:
            self.blessing = Blessing(True, [])
            return True
        self.gate.ask()
        if self.gate.needs_measuring:
            return False
        self.blessing = self.gate.verdict()
        return not self.blessing.blessed

    def execute(self) -> int:
        """Runs the job; returns the exit code."""
        with (
            Heartbeat(self._folder.heartbeat),
            interruptible(last_words=lambda: self._stop("interrupted", "by Ctrl-C")) as heard,
        ):
            try:
                self._work()
                self._deliver()
            except KeyboardInterrupt:
                heard()
                self._stop("interrupted", "by Ctrl-C")
                return INTERRUPTED
            except Exception as error:
                self._stop("failed", self._explain(error))
                return FAILED
            self._finish(heard)
        return 0

    def _finish(self, heard: Callable[[], None]) -> None:
        """Ends a run in which all is done: an interrupt now only ends the waiting."""
        self._stopping.acquire(blocking=False)
        timeout = 120.0
        try:
            self._end("finished")
        except KeyboardInterrupt:
            heard()
            timeout = 1.0
        self._finish_tracking("FINISHED", timeout, heard)

    def _work(self) -> None:
        self.gate.ask()
        plans = [*self._plans.values(), *self._champion()]
        self._folder.start(self._config.name, resolved(self._config), code_version(), plans)
        self._start_tracking()
        with RunDisplay(self._console) as display, listening(display.move):
            watcher = Watcher(
                self._observer, [lambda record: display.show(record, self._summary), self._track]
            )
            with watcher:
                if not any(plan.in_job for plan in plans):
                    reused = f"all {len(self._plans)} stages are reused"
                    self._console.print(f"[bold]{self._config.name}[/]: nothing to compute, {reused}.")
                    return
                import_tensorflow()
                from pipeline.run.job import run_job

                run_job(self._config, self._places, plans, self._folder)

    def _champion(self) -> list[NodePlan]:
        """The node that measures the champion, if it must be measured."""
        if not self.gate.needs_measuring:
            return []
        champion = self.gate.champion
        assert champion is not None
        model = self.gate.fetch_champion(champion_folder(champion.identity))
        if model is None:
            return []
        return [champion_plan(champion, model, self._plans, self._store)]

    def _measured_champion(self, champion: ChampionModel) -> Evaluation | None:
        evaluated = self.artifact("evaluate", Evaluation)
        return measured_champion(champion, self._plans, self._store, evaluated)

    def _deliver(self) -> None:
        """Finds the verdict, and pushes and registers a model that may be served."""
        if not self.gate.decides:
            return
        served = self.gate.push()
        assert self.gate.blessing is not None
        self.blessing = self.gate.blessing
        if self._tracker:
            self._tracker.judged(self.blessing.as_json())
        if self.gate.warning:
            self._warn(self.gate.warning)
        if served is not None:
            self._served = str(served)
            self._write_serving_files()
            evaluated = self.artifact("evaluate", Evaluation)
            if self._tracker and evaluated is not None:
                self._tracker.register(self._served, evaluated.example_question() or "")

    def _write_serving_files(self) -> None:
        try:
            write_serving_files(self._places.serving)
        except (OSError, UnicodeError) as error:
            where = files.relative(self._places.serving)
            self._warn(f"no configuration of TensorFlow Serving in {where}: {error}")

    def _warn(self, message: str) -> None:
        self._console.print(f"[yellow]{escape(message)}[/]", highlight=False, soft_wrap=True)

    def artifact(self, node: str, kind: type[Found]) -> Found | None:
        """Returns a node's artifact: that of the job, or one that is reused and cannot turn out otherwise."""
        found = self._observer.artifact(node)
        plan = self._plans.get(node)
        if found is None and plan is not None and not plan.in_job:
            found = plan.artifact
        return found if isinstance(found, kind) else None

    def _record(self) -> RunRecord | None:
        """What is known now; None where the store cannot be asked."""
        try:
            return self._observer.record()
        except OSError:
            return None

    def _summary(self, node: str) -> dict[str, object] | None:
        found = self._observer.artifact(node)
        return found.summary if found else None

    def _start_tracking(self) -> None:
        from pipeline.tracking.mlflow_run import start_tracker

        tracking = self._config.tracking
        record = self._observer.record()
        if tracking.enabled and record is not None:
            self._tracker = start_tracker(record, tracking.uri, arrived=self._note_tracking)

    def _track(self, record: RunRecord) -> None:
        if self._tracker:
            self._tracker.update(record, self._observer.artifact)

    def _note_tracking(self, run_id: str, missing: str = THE_END) -> None:
        """Keeps which MLflow run it is, so that it can be completed even if this process is killed."""
        self._folder.note_tracking(absolute_uri(self._config.tracking.uri), run_id, missing)

    def _finish_tracking(
        self, status: Status, timeout: float = 120.0, heard: Callable[[], None] = lambda: None
    ) -> None:
        if self._tracker is None:
            return
        record = self._record()
        message = record.message if record else ""
        missing = THE_END
        problems = ["interrupted while MLflow was waited for: `rnnpipe track` sends the rest."]
        try:
            problems = self._tracker.finish(status, message, timeout)
            missing = ", ".join(self._tracker.missing)
        except KeyboardInterrupt:
            heard()
        for problem in problems:
            self._console.print(f"[yellow]tracking:[/] {escape(problem)}", highlight=False, soft_wrap=True)
        with contextlib.suppress(OSError):  # `rnnpipe track` finds out what MLflow has
            self._note_tracking(self._tracker.run_id or "", missing)

    def _end(self, status: str, message: str = "") -> None:
        """Ends the record, and writes the run's page; without the page the run is no failure."""
        from pipeline.report.facts import RunFacts
        from pipeline.report.pages import card_page

        blessing = self.blessing.as_json() if self.blessing.reasons else {}
        try:
            self._folder.end(status, message, blessing, self._served)
        except OSError as error:
            self._warn(f"the end of the run could not be noted: {error}")
        try:
            record = self._observer.record()
            assert record is not None
            self._track(record)
            page = card_page(RunFacts(record, self._store))
            files.write(self._folder.card, page.encode())
        except Exception as error:
            self._warn(f"no card: {error}")
            return
        if self._tracker:
            self._tracker.card(page)

    def _explain(self, error: Exception) -> str:
        """What went wrong, for people: as the worker reported it, wherever that was."""
        record = self._record()
        node = record.at_work if record else None
        if node is not None and node.error:
            message, expected, trace = node.error, not node.unexpected, node.traceback
        else:
            # Beam's local runner appends the step, whose name says nothing to the user.
            message = re.sub(r"\s*\[while running '[^']*'\]", "", str(error)).strip()
            expected, trace = isinstance(error, UserError), traceback.format_exc()
            message = message if expected else f"{type(error).__name__}: {message}"
        if self._verbose:
            self._console.print(escape(trace), highlight=False)
        if expected or self._verbose:
            return message
        return f"{message.partition(chr(10))[0]}\n--verbose shows the traceback."

    def _stop(self, status: str, message: str) -> None:
        if not self._stopping.acquire(blocking=False):
            return  # the thread that watches for interrupts is at it
        from components.export.server_check import end_servers

        end_servers()
        record = self._record()
        nodes = record.nodes if record else {}
        at_work = record.at_work.name if record and record.at_work else None
        kept = [name for name, node in nodes.items() if node.state in DONE]
        if record and at_work == "train" and record.epochs:
            kept.append(f"train up to epoch {record.epochs}")
        where = f" in {at_work}" if at_work else ""
        what = escape(message.removeprefix(f"{at_work}: "))
        self._console.print(f"[red]{status}{where}:[/] {what}", highlight=False, soft_wrap=True)
        self._console.print(f"kept: {', '.join(kept) or 'nothing yet'}", highlight=False)
        self._console.print(f"go on: {escape(self._command)}", highlight=False, soft_wrap=True)
        if record is None:
            return  # it never came to begin
        self._end(status, message)
        if status == "interrupted":
            self._finish_tracking("KILLED", timeout=1.0)  # after Ctrl-C nobody wants to wait
        else:
            self._finish_tracking("FAILED")
