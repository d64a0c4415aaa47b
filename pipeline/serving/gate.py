"""Whether a run's model may be pushed: the thresholds, and the champion it must not fall behind.

What was measured of a model never changes, and is kept in the evaluate artifact. The verdict depends on the
champion of the moment, so it is found anew by each run that could push.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import UserError
from components.export.push import Note, amend_note, latest_version, push, read_note
from pipeline.config import PipelineConfig
from pipeline.plan.planning import StagePlan, key_of
from pipeline.plan.stages import Stage, StageDirectories
from pipeline.store.store import Artifact, Store
from pipeline.tracking.mlflow_client import absolute_uri, without_password
from pipeline.tracking.registry import Champion, find_champion

if TYPE_CHECKING:
    import apache_beam as beam

    from components.evaluate.verdict import Blessing


class Gate:
    """Decides whether the model of a plan is pushed, and pushes it.

    Args:
        config: the run's configuration.
        plans: of all stages; without evaluate and export there is nothing to decide.
        store: where artifacts are.
        force: the stages that were asked for; `export` lets a model pass that was rolled back.
    """

    def __init__(
        self, config: PipelineConfig, plans: list[StagePlan], store: Store, force: Collection[str] = ()
    ) -> None:
        self._config = config
        self._store = store
        self._forced = "export" in force
        self._plans = {plan.stage.name: plan for plan in plans}
        self.base = Path(config.export.directory) / config.name
        """Where the model is served from: the directory of its versions."""
        self._champion: Champion | None = None
        self._asked = False
        self._seen: int | None = None
        self._unknown = ""
        self._pushed: Path | None = None

    @property
    def decides(self) -> bool:
        """Whether the plan makes a model that could be pushed."""
        return {"evaluate", "export"} <= self._plans.keys()

    @property
    def compares(self) -> bool:
        """Whether the champion has a say."""
        return self.decides and self._config.evaluate.compares

    @property
    def exported(self) -> Artifact | None:
        """The export artifact, once it is there."""
        return self._artifact("export")

    @property
    def evaluated(self) -> Artifact | None:
        """The evaluate artifact, once it is there."""
        return self._artifact("evaluate")

    @property
    def last(self) -> Artifact | None:
        """The artifact of the plan's last stage, once it is there."""
        return self._artifact(list(self._plans)[-1])

    @property
    def served(self) -> Path | None:
        """Where this very export is served, which is as the newest version; None if it is not."""
        if self._pushed is not None:
            return self._pushed
        newest, note = self._newest()
        if newest is None or note is None or not self.decides or note.key != self._plans["export"].key:
            return None
        other = self.exported and note.content and note.content != self.exported.digest("model")
        return None if other else self.base / str(newest)

    @property
    def settled(self) -> bool:
        """Whether this very export is served, was found good enough by the same rules, and is registered."""
        _, note = self._newest()
        if note is None or self.served is None:
            return False
        in_place = note.registered and note.tracking == self._registry
        return note.bless == self._rules and (in_place or not self._config.tracking.enabled)

    def ask(self) -> None:
        """Looks up the champion, if it has a say; that it cannot be asked is found in the verdict.

        To be called again before the verdict: another run may have been quicker. What was answered once holds
        if there is no answer now.
        """
        if not self.compares:
            return
        version, note = self._newest()
        served = self._as_champion(version, note)
        meant, known = (note.tracking == self._registry, note.registered) if note else (False, False)
        try:
            if meant and not known:  # it is to be the champion as soon as the registry hears of it
                found = served
            else:
                found = find_champion(self._config.tracking.uri, self._config.name)
                if found is None and not meant:
                    found = served
        except UserError as error:
            if not self._asked:
                self._unknown = f"{error}. Run again when it answers"
                return
            if version == self._seen or served is None:
                return
            found = served  # which was pushed meanwhile
        if found != self._champion or not self._asked:
            self._champion, self._unknown = found, ""
        self._asked, self._seen = True, version

    def _as_champion(self, version: int | None, note: Note | None) -> Champion | None:
        """What is served, as the model that the others must not fall behind."""
        if version is None or note is None:
            return None
        place = self.base / str(version)
        title = f"{place} ({'served' if note.registered else 'served, but not registered'})"
        return Champion(title, note.key, note.model, note.content, place.absolute().as_uri(), "")

    def plan(self) -> StagePlan | None:
        """How the champion is measured on the examples of this run; None if there is nothing to measure."""
        if self._champion is None or self._is_champion or self._measured_champion() is not None:
            return None
        ingredients = self._ingredients(self._champion)
        key = key_of(ingredients)
        try:
            model = self._champion.fetch(self._store.scratch("champion", key))
        except UserError as error:
            self._unknown = str(error)
            return None
        stage = Stage(
            name="champion",
            upstream=("ingest", "tokenize"),
            module=self._plans["evaluate"].stage.module,
            libraries=self._plans["evaluate"].stage.libraries,
            settings=self._plans["evaluate"].stage.settings,
            transform=partial(_measure, str(model)),
        )
        reason = f"{self._champion.title}, on the same examples"
        return StagePlan(stage, key, ingredients, artifact=None, reason=reason)

    def verdict(self) -> Blessing:
        """Judges what was measured."""
        from components.evaluate.blessing import judge
        from components.evaluate.measured import read_measured
        from components.evaluate.verdict import Blessing

        assert self.evaluated is not None
        config = self._config.evaluate
        _, note = self._newest()
        assert self.exported is not None
        content = self.exported.digest("model")
        # Older notes have the key.
        known = {self.model, self.exported.upstream.get("train"), self._plans["export"].key}
        if note and known & {*note.rolled_back} and not self._forced:
            return Blessing(
                False, ["it was rolled back; change something, or push it all the same with --force export"]
            )
        trained = {each.upstream.get("train") for each in (self.exported, self.evaluated)} - {None}
        if len(trained) > 1 or not self.exported.made_from("evaluate", self.evaluated):
            return Blessing(False, ["it was exported from another make than was measured. Run again"])
        model = read_measured(self.evaluated.directory)
        if not self.compares or (self._champion is None and not self._unknown):
            return judge(config, model)
        if self._unknown:
            return self._not_compared(self._unknown)
        assert self._champion is not None
        if self._is_champion or self._champion.content == content:
            return judge(config, model, model, f"{self._champion.title}, which is this model")
        measured = self._measured_champion()
        if measured is None:
            return self._not_compared(
                f"the champion is {self._champion.title}, which was not asked in this run. Run again to have "
                "it compared"
            )
        return judge(config, model, read_measured(measured), self._champion.title)

    def _not_compared(self, why: str) -> Blessing:
        """The verdict where the champion has a say, but cannot be compared with."""
        from components.evaluate.blessing import judge
        from components.evaluate.measured import read_measured
        from components.evaluate.verdict import Blessing, Rule

        assert self.evaluated is not None
        alone = judge(self._config.evaluate, read_measured(self.evaluated.directory), name="not compared")
        rule = Rule("", "", "champion", 0.0, None, False, None, why)
        return Blessing(False, [rule.reason, *alone.reasons], [rule, *alone.rules])

    @property
    def knows(self) -> bool:
        """Whether the verdict can be given without measuring the champion first."""
        return (
            bool(self._unknown)
            or self._champion is None
            or self._is_champion
            or self._measured_champion() is not None
        )

    def push(self) -> Path:
        """Copies the model to where it is served, unless it is the newest there; returns its directory.

        Raises:
            UserError: if its files are not those that were validated, or cannot be copied.
        """
        assert self.exported is not None
        newest, note = self._newest()
        if newest is not None and self.served is not None and not self._forced:
            amend_note(self.base, newest, bless=self._rules, model=self.model)
            if self._registry and note and note.tracking != self._registry:
                amend_note(self.base, newest, tracking=self._registry, registered=False)
            self._pushed = self.base / str(newest)
            return self._pushed
        if damage := self.exported.damage(thorough=True):
            raise UserError(
                f"refused to push {self.exported.directory}: {damage}, and is not what was validated. Run "
                "again: it is made anew."
            )
        weights = self.exported.upstream.get("train", "")
        gone = set(note.rolled_back if note else ()) - {self.model, self.exported.key, weights}
        noted = Note(
            key=self.exported.key,
            model=self.model,
            tracking=self._registry,
            bless=self._rules,
            content=self.exported.digest("model"),
            weights=weights,
            rolled_back=tuple(sorted(gone)),
        )
        version = push(self.exported.directory / "model", self.base, noted, self._config.export.keep_versions)
        self._pushed = self.base / str(version)
        return self._pushed

    @property
    def model(self) -> str:
        """Tells the model from others: what it was trained from, and how it decodes."""
        decode = {
            name: value
            for name, value in self._plans["export"].ingredients.items()
            if name.startswith("config decode")
        }
        return key_of({**decode, "train": self._plans["train"].key})

    def _newest(self) -> tuple[int | None, Note | None]:
        version = latest_version(self.base)
        return version, read_note(self.base, version)

    @property
    def _registry(self) -> str:
        tracking = self._config.tracking
        return without_password(absolute_uri(tracking.uri)) if tracking.enabled else ""

    @property
    def _rules(self) -> str:
        return json.dumps(self._config.evaluate.model_dump(mode="json")["bless"], sort_keys=True)

    @property
    def _is_champion(self) -> bool:
        if self._champion is None or self._champion.model != self.model:
            return False
        return self._holds(self.exported)

    def _holds(self, exported: Artifact | None) -> bool:
        """Whether an export artifact, which no stage of this run makes anew, has the champion's files."""
        assert self._champion is not None
        if exported is None or (exported.key == self._plans["export"].key and self._plans["export"].runs):
            return False
        return self._champion.content in ("", exported.digest("model"))

    def _artifact(self, stage: str) -> Artifact | None:
        plan = self._plans.get(stage)
        return self._store.find(stage, plan.key) if plan else None

    def _ingredients(self, champion: Champion) -> dict[str, str]:
        """What shapes the champion's figures: itself, the examples, and how they are measured."""
        shaping = {
            name: value
            for name, value in self._plans["evaluate"].ingredients.items()
            if not name.startswith(("config decode", "upstream train"))
        }
        return {**shaping, "champion": champion.identity}

    def _measured_champion(self) -> Path | None:
        """The files with the champion's figures on these examples, wherever they were found."""
        assert self._champion is not None
        wanted = self._ingredients(self._champion)
        found = self._store.find("champion", key_of(wanted))
        if found is not None and not found.damage():
            return found.directory
        wanted.pop("champion")
        for exported in self._store.all("export"):
            if exported.key == self._champion.key and self._holds(exported):
                evaluated = self._store.find("evaluate", exported.ingredients["upstream evaluate"])
                if (
                    evaluated
                    and not (evaluated.key == self._plans["evaluate"].key and self._plans["evaluate"].runs)
                    and exported.made_from("evaluate", evaluated)
                    and wanted.items() <= evaluated.ingredients.items()
                    and not evaluated.damage()
                ):
                    return evaluated.directory
        return None


def _measure(model: str, config: PipelineConfig, directories: StageDirectories) -> beam.PTransform:
    from components.evaluate.saved_model import LoadSavedModel
    from components.evaluate.transform import Evaluate

    return Evaluate(
        config.evaluate, config.decode, config.task, directories.output, LoadSavedModel(model), "champion"
    )
