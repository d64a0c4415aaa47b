"""Runs in MLflow, without ever holding a run up.

A pipeline run is a parent run with a trial: one configuration that is trained and measured. What training and
evaluation say goes to the trial at once; the parent takes it over at the end, so that pipeline runs compare
where MLflow shows parents only.

All calls are made by one background thread, through MlflowClient and with the run's id (the fluent functions
go by one active run a thread), in their order but for what MLflow cannot take at once. While nobody answers
they wait; what has not arrived when the run is over is named, and can be sent later: see track.py.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from components.artifacts.artifact import Artifact
from pipeline.run.record import DONE, RunRecord
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.mlflow_client import failure_of, one_line, quiet_mlflow, without_password
from pipeline.tracking.sender import Scalar, Sender, Status
from pipeline.tracking.system_metrics import SystemMetrics

__all__ = ["Status", "Tracker"]

_SAMPLES = "system metrics"


class Tracker:
    """One pipeline run as a parent run in MLflow with a trial, by the run's record.

    Args:
        uri: where MLflow keeps its runs: sqlite:///mlflow.db or a server's address. A relative database path
            is meant from the working directory of this moment.
        experiment: made if it does not exist. Next to a SQLite database its artifacts go to
            mlartifacts/<experiment>.
        run: the record's id, which `rnnpipe track` takes.
        model: what kind of model it makes. It leads the name, of which MLflow's tables show the beginning.
        run_id: the run in MLflow, of which something is missing there; None makes a new one.
        watch: whether the machine's own metrics are sent, too.
        again: whether an earlier process may have made the run without hearing of it.
        arrived: called, by another thread, with the id of the run in MLflow once it is there.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        run: str,
        model: str = "",
        run_id: str | None = None,
        watch: bool = True,
        again: bool = False,
        arrived: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.missing: list[str] = []
        """What had not arrived when the run was over, and can be sent later."""
        self._record = run
        self._sender = Sender(uri, experiment, run, model, run_id, again, arrived)
        self._delivery = Delivery(failure_of)
        self._updating = threading.Lock()
        self._seen: set[int | str] = set()  # epochs and nodes that were noted
        self._samples = 0
        self._machine = SystemMetrics(self._put_sample) if watch else None

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run, once it has arrived."""
        return self._sender.run_id

    @property
    def trial_id(self) -> str | None:
        """MLflow's name of its trial."""
        return self._sender.trial_id

    def start(
        self,
        params: Mapping[str, Scalar],
        tags: Mapping[str, str],
        config_text: str,
        began: float | None = None,
    ) -> None:
        """Makes the run and its trial.

        Args:
            params: the configuration, flat.
            tags: what else identifies the run.
            config_text: the configuration as the user would write it, kept as pipeline.yaml.
            began: when the run began, in seconds since 1970. Default: now.
        """
        # Not in the thread: two threads that import large packages at once may meet half-made modules.
        quiet_mlflow()
        self._put("the run", self._sender.create, _milliseconds(began), tags)
        self._put("its parameters", self._sender.log_params, params)
        self._put("pipeline.yaml", self._sender.log_text, config_text, "pipeline.yaml")
        if self._machine:
            self._machine.start()

    def update(self, record: RunRecord, artifact: Callable[[str], Artifact | None]) -> None:
        """Notes the epochs and artifacts that it has not seen yet; may be called as often as one likes.

        What an artifact holds is logged whether this run made it or reused it.

        Args:
            record: the run's, as it is now.
            artifact: gives a node's artifact; None leaves it out.
        """
        with self._updating:
            now = _milliseconds()
            for name, node in record.nodes.items():
                if not node.trials:  # a candidate that belongs to another run
                    continue
                self._note_epochs(node.history, now)  # in this place, as they come while the run goes on
                if name in self._seen or node.state not in DONE:
                    continue
                found = artifact(name)
                if found is not None:
                    self._seen.add(name)
                    self._put(name, self._sender.log_node, node, found, now)

    def _note_epochs(self, history: Sequence[Mapping[str, float]], now: int) -> None:
        for epoch in history:
            number = int(epoch["epoch"])
            if number not in self._seen:
                self._seen.add(number)
                self._sender.note_epoch(epoch)
                self._put(f"epoch {number}", self._sender.log_epoch, epoch, now)

    def decided(self, verdict: Mapping[str, Any]) -> None:
        """Notes the verdict.

        Args:
            verdict: a Verdict as JSON has it.
        """
        tags = {
            "blessed": str(verdict["blessed"]).lower(),
            "verdict": "; ".join(verdict["reasons"]),
            "champion": verdict["champion"],
        }
        text = json.dumps(verdict, ensure_ascii=False, indent=1)
        self._put("the verdict", self._sender.log_tags, {k: v for k, v in tags.items() if v})
        self._put("verdict.json", self._sender.log_text, text, "evaluate/verdict.json")

    def card(self, page: str) -> None:
        """Keeps the run's page with it.

        Args:
            page: HTML.
        """
        self._put("card.html", self._sender.log_text, page, "card.html")

    def register(self, served: str | os.PathLike[str], example: str) -> None:
        """Makes a model the champion; it is logged and registered first, unless a version of it is there.

        Args:
            served: the directory of the version that is served, whose parent has the model's name.
            example: a text to ask it.
        """
        self._put("the champion", self._sender.make_champion, served, example)

    def finish(
        self, status: Status, message: str = "", timeout: float = 30.0, ended: float | None = None
    ) -> list[str]:
        """Ends the run, and waits until everything has arrived.

        Args:
            status: how the pipeline run ended.
            message: why, if it did not end well.
            timeout: seconds to wait at most.
            ended: when the run ended, in seconds since 1970. Default: now.

        Returns:
            What the user should know: nothing, or one sentence that names what did not arrive.
        """
        if self._machine:
            self._machine.stop()
        end = _milliseconds(ended)
        if message:
            self._put("the message", self._sender.log_tags, {"message": message})
        self._put("the trial's figures", self._sender.log_figures, end)
        self._put("the end", self._sender.end, status, end)
        missing = list(dict.fromkeys(self._delivery.close(timeout)))
        self.missing = [each for each in missing if each != _SAMPLES]
        if not missing:
            return []
        advice = f" The artifacts are complete: `rnnpipe track {self._record}` sends it later."
        lost = f" Some {_SAMPLES} are lost, as they are kept nowhere else." if _SAMPLES in missing else ""
        return [
            f"MLflow at {without_password(self._sender.uri)} did not get {', '.join(missing)}: "
            f"{one_line(self._delivery.error) or f'no answer in {timeout:g} s'}."
            f"{advice if self.missing else ''}{lost}"
        ]

    def _put_sample(self, sample: dict[str, float]) -> None:
        self._samples += 1
        self._put(_SAMPLES, self._sender.log_sample, sample, self._samples, _milliseconds())

    def _put(self, label: str, send: Callable[..., None], *arguments: Any) -> None:
        self._delivery.put(label, partial(send, *arguments))


def _milliseconds(seconds: float | None = None) -> int:
    """A time in milliseconds since 1970; now if none is given."""
    return int(1000 * (time.time() if seconds is None else seconds))
