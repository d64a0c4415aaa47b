"""On how many threads the trials of a sweep were trained: the last bits of their weights depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipeline.run.record import NodeRecord


def with_thread_warning(nodes: Mapping[str, NodeRecord], trained: Iterable[str]) -> dict[str, NodeRecord]:
    """Warns, at the first of them, of reused trainings with another number of threads than those of this run.

    Args:
        nodes: of the run, by name.
        trained: the names of those of the rungs, in order.
    """
    known = dict(nodes)
    of_rungs = [(nodes[name], count) for name in trained if (count := _threads(nodes[name]))]
    ours = {count for node, count in of_rungs if node.state == "finished"}
    others = [(node, count) for node, count in of_rungs if node.state == "reused" and count not in ours]
    if ours and others:
        first, count = others[0]
        this_run = ", ".join(map(str, sorted(ours)))
        warning = (
            f"{len(others)} reused trainings, of which this is the first, had another number of threads "
            f"within operations ({count}) than those of this run ({this_run}): the last bits of the weights "
            "may differ from those of a sweep with one count"
        )
        known[first.name] = replace(first, warnings=(*first.warnings, warning))
    return known


def _threads(node: NodeRecord) -> int | None:
    """Within operations; None of an artifact that does not say."""
    count: int | None = node.summary.get("threads", {}).get("intra_op")
    return count
