"""Whether a run's model may be pushed: the thresholds, and the champion it must not fall behind.

What was measured of a model never changes, and is kept in the evaluate artifact. The verdict depends on the
champion of the moment, so it is found by each run that could push, and again if another push was quicker.
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
from pipeline.config import PipelineConfig
from pipeline.serving.claims import Claim, described
from pipeline.serving.served import Seen, Served
from pipeline.serving.verdict import Situation, decide
from pipeline.serving.versions import Content
from pipeline.tracking.mlflow_client import absolute_uri, without_password
from pipeline.tracking.registry import Champion, find_champion, is_registered

if TYPE_CHECKING:
    from components.artifacts.evaluation import Evaluation
    from components.artifacts.exported_model import ExportedModel, ModelId
    from components.evaluate.verdict import Blessing


@dataclass(frozen=True)
class RunView:
    """What the gate sees of a run.

    Args:
        stages: names of those that the plan has.
        exported: returns the export artifact; None until it is there.
        evaluated: returns the evaluate artifact; None until it is there.
        measured_champion: returns what was measured of a champion on the run's examples; None if nothing was.
    """

    stages: Collection[str]
    exported: Callable[[], ExportedModel | None]
    evaluated: Callable[[], Evaluation | None]
    measured_champion: Callable[[Champion], Evaluation | None]


class Gate:
    """Decides whether the model of a run is pushed, and pushes it.

    Args:
        config: the run's configuration.
        serving: where models are pushed to.
        view: of the run.
        force: the stages that were asked for; `export` lets a model pass that was rolled back.
    """

    def __init__(
        self, config: PipelineConfig, serving: UPath, view: RunView, force: Collection[str] = ()
    ) -> None:
        self.champion: Champion | None = None
        """The model that others must not fall behind, once it was asked for."""
        self.blessing: Blessing | None = None
        """The last verdict."""
        self.warning = ""
        """What the user should know of what was served before; empty if all was well."""
        self._config = config
        self._served = Served(serving, config.name)
        self._view = view
        self._forced = "export" in force
        self._seen: Seen | None = None
        self._asked = False
        self._asked_at: int | None = None
        self._unknown = ""
        self._pushed: UPath | None = None

    @property
    def decides(self) -> bool:
        """Whether the run makes a model that could be pushed."""
        return {"evaluate", "export"} <= {*self._view.stages}

    @property
    def compares(self) -> bool:
        """Whether the champion counts."""
        return self.decides and self._config.evaluate.compares

    @property
    def model(self) -> ModelId:
        """Which model the run has exported."""
        return self._exported.model_id

    @property
    def served(self) -> UPath | None:
        """Where this very export is served, which is as the newest version, and whole; None if it is not."""
        return self._pushed or self._place(self._served.look())

    @property
    def settled(self) -> bool:
        """Whether this very export is served, was found good enough by the same rules, and is registered."""
        seen = self._served.look()
        if seen.newest is None or seen.unfinished or self._place(seen) is None:
            return False
        in_registry = self._served.claims.registered(seen.newest, self._registry)
        return self._served.claims.judged(seen.newest, self._rules) and (in_registry or not self._registry)

    @property
    def needs_measuring(self) -> bool:
        """Whether the champion must be measured on the run's examples before the verdict can be given."""
        return (
            self.champion is not None
            and not self._unknown
            and not self._is_champion
            and self._view.measured_champion(self.champion) is None
        )

    def ask(self) -> None:
        """Completes what others have begun to push, and looks up the champion, if it counts.

        That it cannot be asked is found in the verdict. To be called again before the verdict: another run
        may have been quicker. What was answered once holds if there is no answer now.

        Raises:
            UserError: if an unfinished push can be neither completed nor closed.
        """
        if not self.decides:
            return
        self._seen = seen = self._served.complete_unfinished()
        if not self.compares:
            return
        served = self._served_champion(seen)
        registry, newest = self._registry, seen.newest
        meant = served is not None and newest is not None and self._served.claims.meant(newest, registry)
        known = newest is not None and self._served.claims.registered(newest, registry)
        try:
            if meant and not known:  # it is to be the champion as soon as the registry hears of it
                found = served
            else:
                found = find_champion(self._config.tracking.uri, self._config.name)
                # A registry of this address may be another one, on a fresh disk, and lack what is served.
                if found is None and served is not None and not (meant and self._registry_has(served)):
                    found = served
        except UserError as error:
            if not self._asked:
                self._unknown = f"{error}. Run again when it answers"
                return
            if newest == self._asked_at or served is None:
                return
            found = served  # which was pushed meanwhile
        if found != self.champion or not self._asked:
            self.champion, self._unknown = found, ""
        self._asked, self._asked_at = True, newest

    def fetch_champion(self, directory: Path) -> Path | None:
        """Returns a local directory with the champion's SavedModel; None if it cannot be had or asked.

        Why not is found in the verdict.

        Args:
            directory: where to copy it, if it is not on this machine.
        """
        assert self.champion is not None
        try:
            return self.champion.fetch(directory)
        except UserError as error:
            self._unknown = str(error)
            return None

    def verdict(self) -> Blessing:
        """Judges what was measured, in sight of what was there when `ask` was called."""
        if self._seen is None:
            self._seen = self._served.complete_unfinished()
        exported, evaluated = self._exported, self._view.evaluated()
        assert evaluated is not None
        compared = None
        if self.compares and self.champion and not self._unknown and not self._is_champion:
            compared = self._view.measured_champion(self.champion)
        situation = Situation(
            figures=evaluated.measured(),
            given_up=self.model in self._served.given_up(self._seen) and not self._forced,
            mixed=_mixed(exported, evaluated),
            champion=self.champion.title if self.champion else "",
            unknown=self._unknown,
            is_champion=self._is_champion,
            champion_figures=compared.measured() if compared else None,
        )
        self.blessing = decide(self._config.evaluate, situation)
        return self.blessing

    def push(self) -> UPath | None:
        """Copies the model to where it is served, unless it is the newest there.

        If another push was quicker, the model is judged again: `blessing` is the last verdict.

        Returns:
            The version's directory; None if the model is not good enough any more.

        Raises:
            UserError: if its files are not those that were validated, or cannot be copied.
        """
        while True:
            self.ask()
            if not self.verdict().blessed:
                return None
            assert self._seen is not None
            place = self._place(self._seen)
            if place is not None and not self._forced:
                self._accept(self._seen)
                self._pushed = place
                return place
            self._pushed = self._try_to_push(self._seen)
            if self._pushed is not None:
                self._served.prune(self._config.export.keep_versions)
                return self._pushed

    def _try_to_push(self, seen: Seen) -> UPath | None:
        """Claims the next version and fills it; None if somebody else was quicker."""
        exported = self._exported
        if damaged := exported.thorough_damage():
            raise UserError(
                f"refused to push: {damaged}; expected what was validated. Run again: it is rebuilt."
            )
        source = exported.saved_model()
        wanted = Claim(
            number=0,
            content=Content.of_export(exported),
            artifact=described(exported.reference),
            champion=self.champion.described if self.champion else None,
            rules=self._rules,
            tracking=self._registry,
            given_up=tuple(each for each in self._served.given_up(seen) if each != self.model),
        )
        damaged = self._served.damage(seen)
        claim = self._served.claim(seen, wanted)
        if claim is None or not self._served.complete(claim, source):
            return None
        place = self._served.base / str(claim.number)
        if damaged:
            assert seen.newest is not None
            before = files.relative(seen.versions[seen.newest])
            self.warning = f"{before}: {damaged}; the model is served as version {claim.number} now"
        return place

    def _accept(self, seen: Seen) -> None:
        """Notes of what is served already that this run would push it, too."""
        assert seen.newest is not None
        if not self._served.claims.judged(seen.newest, self._rules):
            self._served.claims.mark(seen.newest, "judged", self._rules)
        if self._registry and not self._served.claims.meant(seen.newest, self._registry):
            self._served.claims.mark(seen.newest, "meant", self._registry)

    def _registry_has(self, served: Champion) -> bool:
        return is_registered(self._config.tracking.uri, self._config.name, served.digest)

    def _served_champion(self, seen: Seen) -> Champion | None:
        """What is served, as the model that the others must not fall behind."""
        if seen.newest is None:
            return None
        place = seen.versions[seen.newest]
        content = self._served.content(seen.newest, place)
        if content is None:
            return None
        registries = self._served.claims.registries(seen.newest)
        known = any(self._served.claims.registered(seen.newest, each) for each in registries)
        title = f"{files.relative(place)} ({'served' if known else 'served, but not registered'})"
        return Champion(title, content.model, content.digest, str(place), place=place, content=content)

    def _place(self, seen: Seen) -> UPath | None:
        exported = self._view.exported() if self.decides else None
        if exported is None or seen.newest is None:
            return None
        place = seen.versions[seen.newest]
        content = self._served.content(seen.newest, place)
        if content is None or content.digest != exported.manifest.digests["model"]:
            return None
        return None if self._served.damage(seen) else place

    @property
    def _exported(self) -> ExportedModel:
        exported = self._view.exported()
        assert exported is not None
        return exported

    @property
    def _is_champion(self) -> bool:
        exported = self._view.exported()
        if self.champion is None or exported is None:
            return False
        same_files = self.champion.digest == exported.manifest.digests["model"]
        return same_files or self.champion.model == exported.model_id

    @property
    def _registry(self) -> str:
        tracking = self._config.tracking
        return without_password(absolute_uri(tracking.uri)) if tracking.enabled else ""

    @property
    def _rules(self) -> str:
        return json.dumps(self._config.evaluate.model_dump(mode="json")["bless"], sort_keys=True)


def _mixed(exported: ExportedModel, evaluated: Evaluation) -> bool:
    """Whether figures and export are of different weights, or the export was proved by other answers."""
    read = exported.manifest.read
    measured = {
        "evaluate predictions": evaluated.manifest.digests["predictions"],
        "train model": evaluated.manifest.read.get("train model"),
    }
    return any(name in read and read[name] != digest for name, digest in measured.items() if digest)
