"""What MLflow is to have of a run, computed from the run's record, its artifacts and its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components import files
from components.artifacts.evaluation import Evaluation
from components.redaction import redacted
from pipeline.config import yaml_text
from pipeline.plan.node import PICK
from pipeline.run.folder import RunFolder
from pipeline.run.ranking_csv import ranking_csv
from pipeline.run.record import DONE, RunRecord
from pipeline.run.trials import TrialState, trial_states
from pipeline.tracking.part import RUN, Begin, Part, Point, params, tags
from pipeline.tracking.stage_parts import Artifacts, StageParts, StageReader
from pipeline.tracking.trial_runs import (
    begin_of,
    end_of,
    final_score,
    is_shown,
    shared_params,
    trial_params,
    trial_tags,
)

_PARAMETERS = "its parameters"
_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}


class Contents:
    """Computes the parts; what does not change it computes once.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._reader = StageReader()
        self._params: dict[str, dict[str, str]] = {}  # by trial of a sweep
        self._trained: dict[str, tuple[TrialState, StageParts]] = {}  # by trial of a sweep, once it is over

    def parts(self, record: RunRecord, artifacts: Artifacts) -> list[Part]:
        """Reads what MLflow is to have now, in the order in which it is to be sent.

        Args:
            record: the run's, as it is now.
            artifacts: gives those of its nodes.
        """
        config = redacted(record.config)
        states = trial_states(record)
        trials = list(states) or list(dict.fromkeys(t for node in record.nodes.values() for t in node.trials))
        shown = {trial for trial in trials if trial not in states or is_shown(record, states[trial])}
        parts = [part for part in self._begins(record, config, states, trials) if part.of in (RUN, *shown)]
        parts.append(Part(RUN, "pipeline.yaml", files={"pipeline.yaml": yaml_text(config).encode()}))
        # Only what came best is brought to the end.
        best = record.pick if states else max(trials, key=lambda trial: _progress(record, trial))
        figures: list[Point] = []
        for of, made in self._stages(record, artifacts, states, trials):
            parts += [part for part in made.parts if part.of == RUN or part.of in shown]
            if best in of:
                figures += made.epochs
                figures = [*made.figures, *figures] if made.leads else [*figures, *made.figures]
        if not record.goes_on:
            parts += self._at_the_end(record, artifacts, states, best, figures)
        said = {"message": record.message} if record.message else {}
        end = None if record.goes_on else record.began + round(1000 * record.seconds)
        whole = "RUNNING" if record.goes_on else _STATUS.get(record.status, "KILLED"), end
        for trial in trials:
            if trial in states and trial in shown:
                state = states[trial]
                noted = tags(trial_tags(record, state))
                parts.append(Part(trial, "the end", tags=noted, end=end_of(record, state, whole)))
            elif trial in shown:
                parts.append(Part(trial, "the end", end=whole))
        return [*parts, Part(RUN, "the end", tags=tags(said), end=whole)]

    def _begins(
        self,
        record: RunRecord,
        config: Mapping[str, Any],
        states: Mapping[str, TrialState],
        trials: Sequence[str],
    ) -> Iterator[Part]:
        """The first part of the run, and of its trials."""
        rules = json.dumps(config.get("evaluate", {}).get("bless"))
        noted = {"pipeline": record.name, "bless": rules, **record.code}
        own = params(config)
        if states and not self._params:
            self._params = {trial: trial_params(record, state) for trial, state in states.items()}
        if states:
            # Of the others those of the trial that is picked follow at the end.
            of_sweep = {name: value for name, value in own.items() if name.startswith("sweep.")}
            own = shared_params(self._params) | of_sweep
        yield Part(RUN, _PARAMETERS, _begin(record, own), own, tags(noted))
        for trial in trials:
            if trial in states:
                state = states[trial]
                of_trial = {"group": state.trial.group, "seed": str(state.trial.seed)}
                begin, own = begin_of(record, state), self._params[trial]
                yield Part(trial, _PARAMETERS, begin, own, tags({**noted, **of_trial}))
            else:
                yield Part(trial, _PARAMETERS, _begin(record, own, trial), own, tags(noted))

    def _stages(
        self,
        record: RunRecord,
        artifacts: Artifacts,
        states: Mapping[str, TrialState],
        trials: Sequence[str],
    ) -> Iterator[tuple[Sequence[str], StageParts]]:
        """The stages of all trials; in a sweep the trainings come by trial, and what follows of the pick."""
        rungs = {name for rung in record.rungs for name in rung.nodes.values()}
        # Others belong to other runs.
        nodes = [node for name, node in record.nodes.items() if node.trials and name not in rungs]
        behind = [node for node in nodes if states and node.trial == PICK]
        for node in nodes:
            if node not in behind:
                home = (RUN,) if len(node.trials) == len(trials) else node.trials  # RUN for what all share
                # What trials of a sweep share does not tell them apart, and the first metric is shown first.
                of = () if states else node.trials
                yield node.trials, self._reader.parts(record, [node], of, home, artifacts)
        for trial, state in states.items():
            if state.nodes:
                yield [trial], self._training(record, state, artifacts)
        for node in behind:
            yield node.trials, self._reader.parts(record, [node], node.trials, node.trials, artifacts)

    def _training(self, record: RunRecord, state: TrialState, artifacts: Artifacts) -> StageParts:
        trial = state.trial.id
        if trial in self._trained and self._trained[trial][0] == state:
            return self._trained[trial][1]
        over, score = state.settled or not record.goes_on, final_score(record, state)
        first = f"val_{record.config['sweep']['monitor']}"
        made = self._reader.parts(record, state.nodes, [trial], [trial], artifacts, over, score, first)
        if over and made.whole:
            self._trained[trial] = state, made
        return made

    def _at_the_end(
        self,
        record: RunRecord,
        artifacts: Artifacts,
        states: Mapping[str, TrialState],
        best: str,
        figures: Sequence[Point],
    ) -> Iterator[Part]:
        """What is not known before the run is over."""
        if record.verdict:
            yield _verdict(record.verdict)
        if files.exists(self._folder.card):
            yield Part(RUN, "card.html", files={"card.html": files.read(self._folder.card)})
        picked = {"picked": best, "trials": str(len(states))} if states else {}
        own = {**self._params[best]} if states and best else {}
        taken = tuple(sorted(figures, key=lambda point: point.step))
        yield Part(RUN, "the trial's figures", params=own, tags=tags(picked), metrics=taken)
        if states:
            yield Part(RUN, "ranking.csv", files={"ranking.csv": ranking_csv(record).encode()})
        if record.served:
            made = [artifacts(node.name) for node in record.of(best)]
            evaluated = next((artifact for artifact in made if isinstance(artifact, Evaluation)), None)
            yield Part(RUN, "the champion", champion=(record.served, evaluated))


def _begin(record: RunRecord, own: Mapping[str, str], trial: str = "") -> Begin:
    """Of the run, or of its only trial."""
    name = f"{record.id.rpartition('-')[2]}, trial {trial}" if trial else record.id
    return Begin(f"{own.get('encoder', '')} {name}".strip(), record.began)


def _progress(record: RunRecord, trial: str) -> int:
    return sum(node.state in DONE for node in record.of(trial))


def _verdict(verdict: Mapping[str, Any]) -> Part:
    blessed, reasons = str(verdict["blessed"]).lower(), "; ".join(verdict["reasons"])
    noted = {"blessed": blessed, "verdict": reasons, "champion": verdict["champion"]}
    text = json.dumps(verdict, ensure_ascii=False, indent=1).encode()
    return Part(RUN, "the verdict", tags=tags(noted), files={"evaluate/verdict.json": text})
