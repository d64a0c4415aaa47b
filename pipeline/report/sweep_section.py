"""What the card of a run says of its stages and, if it is a sweep, of its trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.evaluate.metrics import title
from pipeline.report.sweep import SweepFacts, state_words
from pipeline.report.sweep_curves import learning_curves
from pipeline.report.sweep_settings import scores_by_setting
from pipeline.run.record import NodeRecord, RunRecord
from pipeline.sweep.draws import in_word, in_words, short_names

_LISTED = 50  # settings before the fold


@dataclass(frozen=True)
class StageRow:
    """A node, or all trainings of a rung.

    Args:
        state: or how many trainings are in which one.
        seconds: that it took, of trainings together; None if this run did none of it.
        reason: why it runs or is reused.
    """

    state: str
    seconds: float | None
    reason: str


def sweep_values(sweep: SweepFacts) -> dict[str, Any]:
    """Returns what the template of a sweep's section takes."""
    return {
        "monitor": title(sweep.monitor),
        "columns": short_names(sweep.over),
        "curves": learning_curves(sweep),
        "by_setting": scores_by_setting(sweep),
        "listed": _LISTED,
        "in_word": in_word,
        "state_words": state_words,
        "in_words": in_words,
    }


def own_nodes(record: RunRecord) -> dict[str, NodeRecord]:
    """Returns the nodes that are shown by themselves: of a sweep's trainings the pick's last one."""
    trials = _trainings(record)
    picked = [node.name for node in record.of() if node.name in trials][-1:]
    return {name: node for name, node in record.nodes.items() if name not in trials or name in picked}


def stage_rows(record: RunRecord) -> dict[str, StageRow]:
    """Returns the nodes in order, by name; in a sweep the trainings of a rung are one row."""
    rows: dict[str, StageRow] = {}
    trials = _trainings(record)
    for name, node in record.nodes.items():
        if name not in trials:
            rows[name] = StageRow(node.state, node.seconds, node.reason)
        elif (rung := trials[name]) not in rows:
            rows[rung] = _rung_row([record.nodes[each] for each, own in trials.items() if own == rung])
    return rows


def trial_warnings(record: RunRecord) -> dict[str, list[str]]:
    """Returns what trainings that are not shown by themselves warn of, and which ones do."""
    shown = own_nodes(record)
    warned: dict[str, list[str]] = {}
    for name, node in record.nodes.items():
        for warning in node.warnings if name not in shown else ():
            warned.setdefault(warning, []).append(name)
    return warned


def _trainings(record: RunRecord) -> Mapping[str, str]:
    """The trainings of a sweep, by name of the node what its rung is called."""
    return {
        name: f"{record.nodes[name].stage}{f' to epoch {rung.stop}' if rung.stop else ''}, "
        f"{len(dict.fromkeys(rung.nodes.values()))} trials"
        for rung in record.rungs
        for name in rung.nodes.values()
    }


def _rung_row(nodes: list[NodeRecord]) -> StageRow:
    states = Counter(node.state for node in nodes)
    seconds = [node.seconds for node in nodes if node.seconds is not None]
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    return StageRow(counted, sum(seconds) if seconds else None, "see below")
