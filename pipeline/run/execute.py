"""One run, from the plan to the summary."""

from __future__ import annotations

import contextlib
import re
import shlex
import threading
import traceback
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.errors import UserError
from components.evaluate.verdict import Blessing
from components.events import listening
from components.export.push import pushing
from components.export.serving_files import write_serving_files
from pipeline.config import PipelineConfig, resolved
from pipeline.plan.planning import StagePlan, make_plan
from pipeline.run.code_version import code_version
from pipeline.run.console import RunDisplay, command_line, example_question, format_metrics
from pipeline.run.interrupt import EXIT_CODE as INTERRUPTED
from pipeline.run.interrupt import interruptible
from pipeline.run.libraries import import_tensorflow, silence_libraries
from pipeline.run.record import THE_END, Recorder
from pipeline.serving.gate import Gate
from pipeline.store.store import Store
from pipeline.tracking.mlflow_client import absolute_uri
from pipeline.tracking.mlflow_run import start_tracker
from pipeline.tracking.tracker import Status, Tracker

FAILED = 1
NOT_BLESSED = 3


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
    options = [f"--set={override}" for override in overrides]
    options += [f"--until={until}"] if until else []
    options += [f"--force={stage}" for stage in force]
    options += ["--verbose"] if verbose else []
    command = command_line("run", config_file, *options)
    store = Store(Path(config.root))
    store.sweep()
    plans = make_plan(config, store, until, force)
    gate = Gate(config, plans, store, force)
    if not any(plan.runs for plan in plans):
        blessing = _settled(gate)
        if blessing is not None:
            console.print(f"[bold]{config.name}[/]: nothing to do, all {len(plans)} stages are reused.")
            return _summarize(config, console, config_file, plans, gate, blessing)
    run = _Run(config, console, command, plans, store, gate, verbose)
    return run.execute() or _summarize(config, console, config_file, plans, gate, run.blessing, run.card)


def _settled(gate: Gate) -> Blessing | None:
    """The verdict on a model that was made before, if there is nothing left to measure or to push."""
    if not gate.decides:
        return Blessing(False, [])
    if gate.settled:
        return Blessing(True, [])
    gate.ask()
    blessing = gate.verdict() if gate.knows else None
    return None if blessing is None or blessing.blessed else blessing


class _Run:
    """The part of a run that does work."""

    def __init__(
        self,
        config: PipelineConfig,
        console: Console,
        command: str,
        plans: list[StagePlan],
        store: Store,
        gate: Gate,
        verbose: bool,
    ) -> None:
        self.blessing = Blessing(False, [])
        """The verdict, once it is found."""
        self._config = config
        self._console = console
        self._command = command
        self._plans = plans
        self._store = store
        self._gate = gate
        self._verbose = verbose
        self._recorder = Recorder(store.root, config.name, resolved(config))
        self._tracker: Tracker | None = None
        self._stopping = threading.Lock()
        for plan in plans:
            state = "waiting" if plan.runs else "reused"
            self._recorder.stage(plan.stage.name, state=state, key=plan.key, reason=plan.reason)
            if plan.artifact:
                self._recorder.record.metrics |= plan.artifact.summary.get("metrics", {})

    @property
    def card(self) -> Path:
        """The run's page."""
        return self._recorder.card

    def execute(self) -> int:
        """Runs the job; returns the exit code."""
        with interruptible(last_words=lambda: self._stop("interrupted", "by Ctrl-C")) as heard:
            try:
                self._work()
                self._deliver()
            except KeyboardInterrupt:
                heard()
                self._stop("interrupted", "by Ctrl-C")
                return INTERRUPTED
            except Exception as error:
                if self._verbose:
                    self._console.print(escape(traceback.format_exc()), highlight=False)
                self._stop("failed", self._explain(error))
                return FAILED
        self._recorder.finish("finished")
        self._write_card()
        self._finish_tracking("FINISHED")
        return 0

    def _work(self) -> None:
        with contextlib.ExitStack() as stack:
            self._tracker = self._start_tracking()
            display = stack.enter_context(RunDisplay(self._console, self._plans))
            for listener in (self._recorder, display, self._tracker):
                if listener:
                    stack.enter_context(listening(listener))
            self._gate.ask()
            champion = self._gate.plan()
            plans = [*self._plans, champion] if champion else self._plans
            if not any(plan.runs for plan in plans):
                reused = f"all {len(plans)} stages are reused"
                self._console.print(f"[bold]{self._config.name}[/]: nothing to compute, {reused}.")
                return
            display.plan(plans)
            if champion:
                name = champion.stage.name
                self._recorder.stage(name, state="waiting", key=champion.key, reason=champion.reason)
            import_tensorflow()
            from pipeline.run.job import run_job

            run_job(self._config, plans, self._store)

    def _deliver(self) -> None:
        """Finds the verdict, and pushes and registers a model that may be served."""
        if not self._gate.decides:
            return
        self._gate.ask()
        self.blessing = self._gate.verdict()
        served = None
        if self.blessing.blessed:
            with pushing(
                self._gate.base
            ):  # one run at a time, from the last look at the champion to the push
                self._gate.ask()
                self.blessing = self._gate.verdict()
                served = self._gate.push() if self.blessing.blessed else None
        self._recorder.note(blessing=self.blessing.as_json())
        if self._tracker:
            self._tracker.judged(self._recorder.record.blessing)
        if served:
            self._recorder.note(served=str(served.absolute()))
            self._write_serving_files(served.parent.parent)
            if self._tracker and self._gate.evaluated:
                example = example_question(self._gate.evaluated.directory / "predictions.jsonl") or ""
                self._tracker.register(served, example)

    def _write_serving_files(self, directory: Path) -> None:
        try:
            write_serving_files(directory)
        except (OSError, UnicodeError) as error:
            said = f"[yellow]no configuration of TensorFlow Serving in {escape(str(directory))}:[/]"
            self._console.print(f"{said} {escape(str(error))}", highlight=False, soft_wrap=True)

    def _start_tracking(self) -> Tracker | None:
        tracking = self._config.tracking
        if not tracking.enabled:
            return None
        self._recorder.note(code=code_version())
        tracker = start_tracker(self._recorder.record, tracking.uri, arrived=self._note_tracking)
        for plan in self._plans:
            if plan.artifact:
                tracker.stage(plan.stage.name, str(plan.artifact.directory), None)
        return tracker

    def _note_tracking(self, run_id: str, missing: str = THE_END) -> None:
        """Has the record name the MLflow run, so that it can be completed even if this process is killed."""
        where = absolute_uri(self._config.tracking.uri)
        self._recorder.note(tracking={"uri": where, "run": run_id, "missing": missing})

    def _finish_tracking(self, status: Status, timeout: float = 120.0) -> None:
        if self._tracker is None:
            return
        message = self._recorder.record.message
        missing = THE_END
        problems = ["interrupted while MLflow was waited for: `rnnpipe track` sends the rest."]
        with contextlib.suppress(KeyboardInterrupt):
            problems = self._tracker.finish(status, message, timeout)
            missing = ", ".join(self._tracker.missing)
        for problem in problems:
            self._console.print(f"[yellow]tracking:[/] {escape(problem)}", highlight=False, soft_wrap=True)
        self._note_tracking(self._tracker.run_id or "", missing)

    def _write_card(self) -> None:
        """Writes the run's page beside its record; that it cannot be written is no reason to fail."""
        from pipeline.report.facts import RunFacts
        from pipeline.report.pages import card_page

        try:
            page = card_page(RunFacts(self._recorder.record, self._store))
            self._recorder.card.write_text(page, encoding="utf-8")
        except Exception as error:
            self._console.print(f"[yellow]no card:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            return
        if self._tracker:
            self._tracker.card(page)

    def _explain(self, error: Exception) -> str:
        # Beam's local runner appends the step, whose name says nothing to the user.
        message = re.sub(r"\s*\[while running '[^']*'\]", "", str(error)).strip()
        if isinstance(error, UserError):
            return message
        if self._verbose:
            return f"{type(error).__name__}: {message}"
        return f"{type(error).__name__}: {message.partition(chr(10))[0]}\n--verbose shows the traceback."

    def _stop(self, status: str, message: str) -> None:
        if not self._stopping.acquire(blocking=False):
            return  # the thread that watches for interrupts is at it
        from components.export.server_check import end_servers

        end_servers()
        record = self._recorder.record
        at_work = next((name for name, stage in record.stages.items() if stage["state"] == "running"), None)
        kept = [name for name, stage in record.stages.items() if stage["state"] in ("reused", "finished")]
        if at_work == "train" and record.epochs:
            kept.append(f"train up to epoch {record.epochs}")
        where = f" in {at_work}" if at_work else ""
        what = escape(message.removeprefix(f"{at_work}: "))
        self._console.print(f"[red]{status}{where}:[/] {what}", highlight=False, soft_wrap=True)
        self._console.print(f"kept: {', '.join(kept) or 'nothing yet'}", highlight=False)
        self._console.print(f"go on: {escape(self._command)}", highlight=False, soft_wrap=True)
        self._recorder.finish(status, message)
        self._write_card()
        if status == "interrupted":
            self._finish_tracking("KILLED", timeout=1.0)  # whoever presses Ctrl-C does not want to wait
        else:
            self._finish_tracking("FAILED")


def _summarize(
    config: PipelineConfig,
    console: Console,
    config_file: str,
    plans: list[StagePlan],
    gate: Gate,
    blessing: Blessing,
    card: Path | None = None,
) -> int:
    """Says what there is now and what to do with it; returns the exit code."""
    evaluated, exported = gate.evaluated, gate.exported
    lines = []
    code = 0
    if evaluated:
        lines.append(f"metrics      {format_metrics(evaluated.summary['metrics'])}")
    if evaluated and exported and blessing.blessed:
        question = shlex.quote(example_question(evaluated.directory / "predictions.jsonl") or "your text")
        served = gate.served
        assert served is not None
        lines += [
            f"model        {served}",
            f"ask it       echo {question} | {command_line('predict', str(served.parent))}",
        ]
    elif evaluated and exported:
        code = NOT_BLESSED
        lines += [
            f"not pushed   {blessing.reasons[0]}",
            *(f"             {reason}" for reason in blessing.reasons[1:]),
            f"model        {exported.directory / 'model'}",
        ]
        if gate.served:
            lines.append(f"still served {gate.served} (pushed before)")
    elif last := gate.last:
        lines.append(f"artifact     {last.directory}")
    if card and card.is_file():
        lines.append(f"card         {card}")
    if config.tracking.enabled:
        compare = command_line("compare", *([] if config.root == "runs" else ["--root", config.root]))
        lines.append(f"see the run  {command_line('ui', config_file)}   (compare: {compare})")
    console.print("\n" + "\n".join(lines), highlight=False, soft_wrap=True, markup=False)
    return code
