"""The model that a name means: of a run, or one that is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from upath import UPath

from components import files
from components.artifacts.exported_model import ExportedModel
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from pipeline.config import PipelineConfig
from pipeline.config.loading import config_of
from pipeline.plan.warm_start import Initial
from pipeline.report.facts import RunFacts, find_runs
from pipeline.serving.served import Served
from pipeline.serving.versions import GRAPH, Content, local_copy, versions


@dataclass(frozen=True)
class KnownModel:
    """A model, and what is known of how it was made.

    Args:
        title: what people call it.
        name: of the model, by which it is served.
        identity: what its answers are known by.
        saved_model: returns a local directory with its SavedModel; None if it was not exported.
        run: that it was made in; None if that is not known.
    """

    title: str
    name: str
    identity: str
    saved_model: Callable[[], Path] | None
    run: RunFacts | None = field(default=None, compare=False)

    @property
    def config(self) -> PipelineConfig | None:
        """The configuration of its run; None if that is not known."""
        return config_of(self.run.record.config) if self.run else None

    def trained(self) -> TrainedModel:
        """Returns the network that it was exported from.

        Raises:
            UserError: if it is not there.
        """
        artifact = self.run.trained if self.run else None
        if artifact is None:
            raise UserError(f"{self.title}: {self._lacks('trained network')}")
        return artifact

    def tokens(self) -> Tokens:
        """Returns the artifact with its vocabularies.

        Raises:
            UserError: if it is not there.
        """
        artifact = self.run.tokens if self.run else None
        if artifact is None:
            raise UserError(f"{self.title}: {self._lacks('vocabularies')}")
        return artifact

    def _lacks(self, what: str) -> str:
        if self.run is None:
            return f"the run that made it is not known, so its {what} cannot be had; name a run"
        return f"the {what} of run {self.run.record.id} are gone, or are damaged; name another run"


def find_known_model(name: str, root: str) -> KnownModel:
    """Finds a model.

    Args:
        name: the id of a run, or enough of it; or the directory of a served model, or of one of its versions.
        root: of the pipeline whose runs are meant.

    Raises:
        UserError: if nothing is called so; the message says what was looked for.
    """
    place = files.resolve(name)
    if files.exists(place / GRAPH):
        return _served(place.name, place.parent) if place.name.isdecimal() else _foreign(name)
    there = versions(place)
    if there:
        return _served(str(max(there)), place)
    try:
        (run,) = find_runs(root, [name])
    except UserError as error:
        raise UserError(
            f"{name} is no model: expected the directory of a served model, such as serving/dates or "
            f"serving/dates/3, or a run ({error})"
        ) from error
    return of_run(run)


def initial_of(config: PipelineConfig) -> Initial | None:
    """Finds the model that a configuration's training starts from.

    Returns:
        None without `train.init_from`.

    Raises:
        UserError: if it cannot be had, is of another task, or does not fit tokenizers and network.
    """
    if config.train.init_from is None:
        return None
    from components.tokenize.earlier import check_tokenizers
    from components.train.warm_start import InitialModel, check_network

    known = find_known_model(config.train.init_from, config.root)
    model, tokens = known.trained(), known.tokens()
    examples = known.run.examples if known.run else None
    own = known.config
    if own is not None and own.task != config.task:
        raise UserError(
            f"train.init_from: {known.title} is a model for {own.task}, expected one for {config.task}"
        )
    if examples is None:
        raise UserError(
            f"train.init_from: the examples of {known.title}, on which it is asked what was forgotten, are "
            "gone; name another run"
        )
    check_tokenizers(tokens, config.tokenize.by_field())
    check_network(InitialModel(tokens.reference, model.reference), config.model)
    return Initial(known.title, examples, tokens, model)


def of_run(run: RunFacts) -> KnownModel:
    """Returns the model of a run.

    Raises:
        UserError: if it has none.
    """
    trained, exported = run.trained, run.exported
    title = f"run {run.record.id}"
    if trained is None and exported is None:
        raise UserError(f"{title} has no model: it did not come to train, or its artifacts are gone.")
    if exported is not None:
        identity = exported.manifest.digests["model"]
        return KnownModel(title, run.record.name, identity, exported.saved_model, run)
    assert trained is not None
    return KnownModel(title, run.record.name, trained.manifest.digests["model"], None, run)


def _served(number: str, base: UPath) -> KnownModel:
    served = Served(base.parent, base.name)
    place = base / number
    content = served.content(int(number), place) or Content.of_files(place)
    run = _run_of(served, int(number))
    title = files.relative(place)
    return KnownModel(title, base.name, content.digest, lambda: local_copy(place), run)


def _foreign(name: str) -> KnownModel:
    place = files.resolve(name)
    digest = Content.of_files(place).digest
    return KnownModel(name, place.name, digest, lambda: local_copy(place))


def _run_of(served: Served, number: int) -> RunFacts | None:
    """The run that a served version was exported in; None if it is out of reach."""
    try:
        claim = served.claims.of(number)
        exported: ExportedModel | None = claim.exported() if claim else None
        if exported is None:
            return None
        (run,) = find_runs(exported.root, [exported.manifest.run])
    except UserError:
        return None
    return run
