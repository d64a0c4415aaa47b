"""A run's model on its way to where it is served: what is there, how the champion stands, and the push.

What was measured of a model never changes, and is kept in its artifact. The verdict depends on the champion
of the moment, so every run that could push decides, and decides again if another push was quicker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from components import files
from components.errors import UserError
from components.redaction import without_password
from pipeline.config import PipelineConfig
from pipeline.serving.served import Pushed, Seen, Served
from pipeline.serving.verdict import ChampionStanding, Situation, decide
from pipeline.tracking.champion import Champion, find_champion
from pipeline.tracking.mlflow_client import absolute_uri
from pipeline.tracking.registry import is_registered

if TYPE_CHECKING:
    from components.artifacts.evaluation import Evaluation
    from components.artifacts.exported_model import ExportedModel
    from components.evaluate.rules import Retained
    from components.evaluate.verdict import Verdict

Measurements = Callable[[Champion], "Evaluation | None"]
"""Returns what was measured of a champion on the run's examples; None if nothing was."""


@dataclass(frozen=True)
class Sight:
    """What there was at one moment.

    Args:
        seen: where the model is served.
        champion: the model that others must not fall behind; None if there is none, or it does not count.
        unreachable: why it cannot be had or asked for; empty if it can.
    """

    seen: Seen
    champion: Champion | None = None
    unreachable: str = ""


@dataclass(frozen=True)
class Deployed:
    """How a run's model stands.

    Args:
        verdict: the last one.
        place: where it is served; None if it is not.
        warning: what the user should know of what was served before; empty if all was well.
    """

    verdict: Verdict
    place: UPath | None = None
    warning: str = ""


class Deployment:
    """Where a run's model is served, and by which rules.

    Args:
        config: the run's configuration.
        serving: where models are pushed to.
        force: the stages that were asked for; `export` has a model pushed that was rolled back.
    """

    def __init__(self, config: PipelineConfig, serving: UPath, force: Collection[str] = ()) -> None:
        self._served = Served(serving, config.name)
        self._config = config
        self._rules = json.dumps(config.evaluate.model_dump(mode="json")["bless"], sort_keys=True)
        tracking = config.tracking
        self._registry = without_password(absolute_uri(tracking.uri)) if tracking.enabled else ""
        self._forced = "export" in force

    def look(self, before: Sight | None = None, compares: bool | None = None) -> Sight:
        """Completes what others have begun to push, and looks up the champion, if it counts.

        Args:
            before: what there was some time ago; the champion of then holds if nobody answers now.
            compares: whether the champion counts; by default if a rule compares with it.

        Raises:
            UserError: if an unfinished push can be neither completed nor closed.
        """
        seen = self._served.complete_unfinished()
        if not (self._config.evaluate.compares if compares is None else compares):
            return Sight(seen)
        served = self._served_champion(seen)
        try:
            champion = self._champion(seen, served)
        except UserError as error:
            if before is None or (before.unreachable and before.champion is None):  # it never answered
                return Sight(seen, None, f"{error}. Run again when it answers")
            pushed_meanwhile = served is not None and seen.newest != before.seen.newest
            return (
                Sight(seen, served) if pushed_meanwhile else Sight(seen, before.champion, before.unreachable)
            )
        if before is not None and champion is not None and champion == before.champion:
            return Sight(seen, champion, before.unreachable)
        return Sight(seen, champion)

    def is_settled(self, exported: ExportedModel) -> bool:
        """Whether this very export is served, was good enough by the same rules, and is registered."""
        return self._served.is_settled(exported.manifest.digests["model"], self._rules, self._registry)

    def place_of(self, exported: ExportedModel) -> UPath | None:
        """Returns where this very export is served, which is as the newest version, and whole."""
        return self._served.place_of(self._served.look(), exported.manifest.digests["model"])

    def situation(
        self,
        sight: Sight,
        exported: ExportedModel,
        evaluated: Evaluation,
        measured: Measurements,
        retained: Retained | None = None,
    ) -> Situation:
        """Puts together all that the verdict depends on.

        Args:
            sight: what there is.
            exported: the run's model.
            evaluated: what was measured of it.
            measured: gives what was measured of the champion.
            retained: what was measured on the initial model's test set; None without a warm start.
        """
        seen, digest = sight.seen, exported.manifest.digests["model"]
        return Situation(
            candidate=evaluated.measured(),
            rules=self._config.evaluate,
            champion=standing(sight, exported, measured),
            retained=retained,
            served=seen.newest if self._served.place_of(seen, digest) else None,
            rolled_back=exported.model_id in self._served.given_up(seen),
            mixed=_mixed(exported, evaluated),
            forced=self._forced,
        )

    def deploy(
        self,
        exported: ExportedModel,
        evaluated: Evaluation,
        measured: Measurements,
        retained: Retained | None = None,
        before: Sight | None = None,
    ) -> Deployed:
        """Decides, and pushes a model that may be served; decides again if another push was quicker.

        Args:
            exported: the run's model.
            evaluated: what was measured of it.
            measured: gives what was measured of the champion.
            retained: what was measured on the initial model's test set; None without a warm start.
            before: what there was when the run began.

        Raises:
            UserError: if its files are not those that were validated, or cannot be copied.
        """
        while True:
            sight = self.look(before)
            verdict = decide(self.situation(sight, exported, evaluated, measured, retained))
            if not verdict.blessed:
                return Deployed(verdict, self.place_of(exported))
            if not verdict.push:
                self._served.accept(sight.seen, self._rules, self._registry)
                self._served.prune(self._config.export.keep_versions)  # the run that pushed may not have
                return Deployed(verdict, self.place_of(exported))
            pushed = self._push(exported, sight)
            if pushed is not None:
                self._served.prune(self._config.export.keep_versions)
                return Deployed(verdict, pushed.place, pushed.warning)
            before = sight

    def _push(self, exported: ExportedModel, sight: Sight) -> Pushed | None:
        champion = sight.champion.described if sight.champion else None
        return self._served.push(exported, sight.seen, champion, self._rules, self._registry)

    def _champion(self, seen: Seen, served: Champion | None) -> Champion | None:
        """Who the champion is: by the registry, or until that hears of it what is served.

        Raises:
            UserError: if the registry cannot be asked.
        """
        newest, claims = seen.newest, self._served.claims
        meant = served is not None and newest is not None and claims.meant(newest, self._registry)
        known = newest is not None and claims.registered(newest, self._registry)
        if meant and not known:  # it is to be the champion as soon as the registry hears of it
            return served
        uri, name = self._config.tracking.uri, self._config.name
        champion = find_champion(uri, name)
        # A registry of this address may be another one, on a fresh disk, and lack what is served.
        if (
            champion is None
            and served is not None
            and not (meant and is_registered(uri, name, served.digest))
        ):
            return served
        return champion

    def _served_champion(self, seen: Seen) -> Champion | None:
        """What is served, as the model that the others must not fall behind."""
        if seen.newest is None:
            return None
        place = seen.versions[seen.newest]
        content = self._served.content(seen.newest, place)
        if content is None:
            return None
        registries = self._served.claims.registries(seen.newest)
        known = any(self._served.claims.registered(seen.newest, registry) for registry in registries)
        title = f"{files.relative(place)} ({'served' if known else 'served, but not registered'})"
        return Champion(title, content.model, content.digest, str(place), place=place, content=content)


def fetch_champion(sight: Sight, directory: Path) -> tuple[Sight, Path | None]:
    """Returns a local directory with the champion's SavedModel; None if it cannot be had.

    Args:
        sight: with a champion.
        directory: where to copy it, if it is not on this machine.

    Returns:
        The sight, which says why it cannot be had, and the directory.
    """
    assert sight.champion is not None
    try:
        return sight, sight.champion.fetch(directory)
    except UserError as error:
        return Sight(sight.seen, sight.champion, str(error)), None


def standing(sight: Sight, exported: ExportedModel | None, measured: Measurements) -> ChampionStanding:
    """Says how it stands with the champion.

    Args:
        sight: what there is.
        exported: the run's model; None while nobody knows what will come out.
        measured: gives what was measured of the champion.
    """
    champion = sight.champion
    if sight.unreachable:
        return ChampionStanding("unreachable", why=sight.unreachable)
    if champion is None:
        return ChampionStanding()
    if exported is not None and _is_champion(champion, exported):
        return ChampionStanding("candidate", champion.title)
    figures = measured(champion)
    if figures is None:
        return ChampionStanding("unmeasured", champion.title)
    return ChampionStanding("measured", champion.title, figures=figures.measured())


def _is_champion(champion: Champion, exported: ExportedModel) -> bool:
    """Whether an export is the champion: the same files, or the same model."""
    return champion.digest == exported.manifest.digests["model"] or champion.model == exported.model_id


def _mixed(exported: ExportedModel, evaluated: Evaluation) -> bool:
    """Whether figures and export are of different weights, or the export was proved by other answers."""
    read = exported.manifest.read
    measured = {
        "evaluate predictions": evaluated.manifest.digests["predictions"],
        "train model": evaluated.manifest.read.get("train model"),
    }
    return any(name in read and read[name] != digest for name, digest in measured.items() if digest)
