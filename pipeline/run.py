"""One run, from the plan to the summary."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.errors import UserError
from components.events import listening
from components.export.push import latest_version, push, pushed_key
from pipeline.artifacts import Store
from pipeline.config import PipelineConfig, as_yaml, flatten, resolved
from pipeline.console import RunDisplay, ask_command, example_question, format_metrics
from pipeline.interrupt import EXIT_CODE as INTERRUPTED
from pipeline.interrupt import interruptible
from pipeline.plan import StagePlan, make_plan
from pipeline.quiet import import_tensorflow, silence_libraries
from pipeline.records import Recorder
from pipeline.tracking import Status, Tracker

FAILED = 1
NOT_BLESSED = 3


def run_pipeline(
    config: PipelineConfig,
    console: Console,
    command: str,
    until: str | None = None,
    force: Collection[str] = (),
    verbose: bool = False,
) -> int:
    """Plans, runs what must run, pushes what may be pushed, and says what came of it.

    Args:
        config: the run's configuration.
        console: where to speak.
        command: the command line that would run this again, for advice.
        until: last stage wanted; None means all.
        force: stages to run although they could be reused.
        verbose: whether failures show the traceback.

    Returns:
        The exit code: 0, 1 (failed), 3 (the model is not good enough to be pushed) or 130 (interrupted).
    """
    if not verbose:
        silence_libraries()
    store = Store(Path(config.root))
    store.sweep()
    plans = make_plan(config, store, until, force)
    if any(plan.runs for plan in plans):
        code = _Run(config, console, command, plans, store, verbose).execute()
        if code:
            return code
    else:
        console.print(f"[bold]{config.name}[/]: nothing to do, all {len(plans)} stages are reused.")
    return _conclude(config, console, plans, store)


class _Run:
    """The part of a run that does work."""

    def __init__(
        self,
        config: PipelineConfig,
        console: Console,
        command: str,
        plans: list[StagePlan],
        store: Store,
        verbose: bool,
    ) -> None:
        self._config = config
        self._console = console
        self._command = command
        self._plans = plans
        self._store = store
        self._verbose = verbose
        self._recorder = Recorder(store.root, config.name, resolved(config))
        self._tracker: Tracker | None = None
        for plan in plans:
            state = "waiting" if plan.runs else "reused"
            self._recorder.stage(plan.stage.name, state=state, key=plan.key, reason=plan.reason)

    def execute(self) -> int:
        """Runs the job; returns the exit code."""
        with interruptible(last_words=lambda: self._stop("interrupted", "by Ctrl-C")):
            try:
                self._work()
            except KeyboardInterrupt:
                self._stop("interrupted", "by Ctrl-C")
                return INTERRUPTED
            except Exception as error:
                if self._verbose:
                    self._console.print(escape(traceback.format_exc()), highlight=False)
                self._stop("failed", self._explain(error))
                return FAILED
        self._recorder.finish("finished")
        self._finish_tracking("FINISHED")
        return 0

    def _work(self) -> None:
        with contextlib.ExitStack() as stack:
            self._tracker = self._start_tracking()
            display = stack.enter_context(RunDisplay(self._console, self._plans))
            for listener in (self._recorder, display, self._tracker):
                if listener:
                    stack.enter_context(listening(listener))
            import_tensorflow()
            from pipeline.job import run_job

            run_job(self._config, self._plans, self._store)

    def _start_tracking(self) -> Tracker | None:
        tracking = self._config.tracking
        if not tracking.enabled:
            return None
        record = self._recorder.record
        tracker = Tracker(tracking.uri, tracking.experiment or self._config.name, record.id)
        tracker.start(flatten(record.config), {"pipeline": self._config.name}, as_yaml(self._config))
        for plan in self._plans:
            if plan.artifact:
                tracker.reused(plan.stage.name, str(plan.artifact.directory))
        return tracker

    def _finish_tracking(self, status: Status, timeout: float = 30.0) -> None:
        if self._tracker is None:
            return
        for problem in self._tracker.finish(status, timeout=timeout):
            self._console.print(f"[yellow]tracking:[/] {escape(problem)}", highlight=False, soft_wrap=True)
        self._recorder.record.tracking = {"uri": self._config.tracking.uri, "run": self._tracker.run_id or ""}
        self._recorder.write()

    def _explain(self, error: Exception) -> str:
        # Beam's local runner appends the step, whose name says nothing to the user.
        message = re.sub(r"\s*\[while running '[^']*'\]", "", str(error)).strip()
        if isinstance(error, UserError):
            return message
        if self._verbose:
            return f"{type(error).__name__}: {message}"
        return f"{type(error).__name__}: {message.partition(chr(10))[0]}\n--verbose shows the traceback."

    def _stop(self, status: str, message: str) -> None:
        record = self._recorder.record
        at_work = next((name for name, stage in record.stages.items() if stage["state"] == "running"), None)
        kept = [name for name, stage in record.stages.items() if stage["state"] in ("reused", "finished")]
        if at_work == "train" and record.epochs:
            kept.append(f"{record.epochs} epochs of train")
        where = f" in {at_work}" if at_work else ""
        what = escape(message.removeprefix(f"{at_work}: "))
        self._console.print(f"[red]{status}{where}:[/] {what}", highlight=False, soft_wrap=True)
        self._console.print(f"kept: {', '.join(kept) or 'nothing yet'}", highlight=False)
        self._console.print(f"go on: {escape(self._command)}", highlight=False, soft_wrap=True)
        self._recorder.finish(status, message)
        self._finish_tracking("KILLED" if status == "interrupted" else "FAILED", timeout=1.0)


def _conclude(config: PipelineConfig, console: Console, plans: list[StagePlan], store: Store) -> int:
    """Pushes a blessed model that is not the newest served, prints the summary, returns the exit code."""
    artifacts = {plan.stage.name: store.find(plan.stage.name, plan.key) for plan in plans}
    evaluated, exported = artifacts.get("evaluate"), artifacts.get("export")
    lines = []
    if evaluated:
        lines.append(f"metrics      {format_metrics(evaluated.summary['metrics'])}")
    code = 0
    if evaluated and exported and evaluated.summary["blessed"]:
        base = Path(config.export.directory) / config.name
        version = latest_version(base)
        if version is None or pushed_key(base, version) != exported.key:
            version = push(exported.directory / "model", base, exported.key)
        question = example_question(evaluated.directory / "predictions.jsonl")
        lines += [f"model        {base / str(version)}", f"ask it       {ask_command(question, str(base))}"]
    elif evaluated and exported:
        code = NOT_BLESSED
        reasons = "; ".join(evaluated.summary["reasons"])
        lines += [f"not pushed   {reasons}", f"model        {exported.directory / 'model'}"]
    else:
        last = artifacts[plans[-1].stage.name]
        lines += [f"artifact     {last.directory}"] if last else []
    if config.tracking.enabled:
        lines.append("see the run  rnnpipe ui   (compare: rnnpipe runs)")
    console.print("\n" + "\n".join(lines), highlight=False, soft_wrap=True, markup=False)
    return code
