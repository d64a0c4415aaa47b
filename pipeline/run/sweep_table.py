"""A sweep before it runs: its trials, and what they will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from pipeline.config.sweep import SweepConfig
from pipeline.plan.node import NodePlan, Plan, Trial
from pipeline.sweep.draws import in_words
from pipeline.sweep.pace import Pace
from pipeline.sweep.titles import trial_title


def trials_table(plan: Plan, pace: Pace) -> Table:
    """Returns the trials as a table: settings, what is there of them, and what is left to train.

    Args:
        plan: of the sweep.
        pace: of earlier trainings.
    """
    repeat = max(Counter(trial.group for trial in plan.trials).values(), default=1)
    seeds = "setting and seed" if repeat > 1 else "seed"
    table = Table("trial", "settings", seeds, "", "cost", box=None, pad_edge=False, header_style="bold")
    for trial in plan.trials:
        nodes = _nodes(plan, trial)
        open_ = [node for node in nodes if node.runs]
        state = f"[yellow]{_missing(nodes, open_)}[/]" if open_ else "[green]reused[/]"
        cost = _cost(nodes, open_, trial, pace)
        seed = trial.config.seed
        which = trial_title(trial.id, trial.group, seed, repeat) if repeat > 1 else str(seed)
        table.add_row(trial.id, escape(in_words(trial.told)), which, state, cost)
    return table


def total(plan: Plan, sweep: SweepConfig, pace: Pace) -> str:
    """Says what is left to train in all, with the trials that halving ends left out."""
    epochs = seconds = 0.0
    known = True
    counted: set[str] = set()
    for place, rung in enumerate(plan.rungs):
        names = dict.fromkeys(rung.nodes.values())
        before = plan.rungs[place - 1].stop if place else 0
        own = [plan[name] for name in names if plan[name].runs and name not in counted]
        counted.update(names)
        # Which ones come so far is not known before: their mean stands for them.
        part = min(_reaching(plan, place, sweep) / max(len(rung.nodes), 1), 1.0)
        for node in own:
            done = (rung.stop or node.config.epochs) - before
            pace_of_node = pace.seconds(node.ingredients)
            known = known and pace_of_node is not None
            epochs += part * done
            seconds += part * done * (pace_of_node or 0.0)
    if not epochs:
        return "nothing is left to train"
    cost = f", about {duration(seconds)} one after the other" if known else ""
    return f"about {epochs:,.0f} epochs are left to train{cost}"


def duration(seconds: float) -> str:
    """Returns seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _reaching(plan: Plan, place: int, sweep: SweepConfig) -> float:
    """How many trials come to a rung."""
    count = float(len(plan.rungs[0].nodes))
    for _ in range(place):
        count = max(count // sweep.halving.reduction_factor, 1) if sweep.halving else count
    return count


def _nodes(plan: Plan, trial: Trial) -> list[NodePlan]:
    return [plan[rung.nodes[trial.id]] for rung in plan.rungs if trial.id in rung.nodes]


def _missing(nodes: list[NodePlan], open_: list[NodePlan]) -> str:
    """What is there of a trial that is not there as a whole."""
    there = [node.stop for node in nodes if node not in open_]
    return f"from epoch {max(there)}" if there else "runs"


def _cost(nodes: list[NodePlan], open_: list[NodePlan], trial: Trial, pace: Pace) -> str:
    """Epochs to the first comparison and to the end, and their seconds where they are known."""
    if not open_:
        return ""
    begun = max((node.stop for node in nodes if node not in open_), default=0)
    ends = [node.stop or trial.config.epochs for node in (open_[0], open_[-1])]
    counts = list(dict.fromkeys(end - begun for end in ends))
    each = pace.seconds(open_[0].ingredients)
    words = " to ".join(_counted(counts))
    return words if each is None else f"{words}, {' to '.join(duration(each * count) for count in counts)}"


def _counted(counts: list[int]) -> Iterator[str]:
    yield from map(str, counts[:-1])
    yield f"{counts[-1]} epoch{'s' if counts[-1] != 1 else ''}"
