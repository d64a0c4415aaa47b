"""The champion: the model that others are compared with, as MLflow's registry names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upath import UPath

from components.addresses import file_path
from components.artifacts.exported_model import ModelId
from components.errors import UserError
from pipeline.serving.versions import Content, damage, local_copy
from pipeline.tracking.mlflow_client import absolute_uri, one_line
from pipeline.tracking.registry import CHAMPION, DIGEST, MODEL, SAVED_MODEL, asking

_OUTPUTS = {"prediction": "string", "score": "float32"}


@dataclass(frozen=True)
class Champion:
    """The model that others must not fall behind.

    Args:
        title: what people call it.
        model: which model it is; None if somebody else registered it.
        digest: of its files; empty as above.
        uri: where its files are.
        tracking_uri: whose registry it was found in; empty if it was found where it is served.
        place: the version that is served, if it was found there.
        content: what the files there should be.
    """

    title: str
    model: ModelId | None
    digest: str
    uri: str
    tracking_uri: str = ""
    place: UPath | None = None
    content: Content | None = field(default=None, compare=False)

    @property
    def identity(self) -> str:
        """What its answers are known by."""
        return self.digest or self.uri

    @property
    def described(self) -> dict[str, Any]:
        """As data that JSON can hold."""
        return {"title": self.title, "model": self.model, "digest": self.digest}

    def fetch(self, directory: Path) -> Path:
        """Returns the SavedModel's directory; what is not on this machine is copied into `directory` first.

        Raises:
            UserError: if it cannot be had, or holds no SavedModel.
        """
        if self.place is not None and self.content is not None:
            return self._from_serving(self.place, self.content)
        local = self._downloaded(directory)
        model, advice = local / SAVED_MODEL, f"Move the alias {CHAMPION} to another version, or remove it."
        if not (model / "saved_model.pb").is_file():
            raise UserError(
                f"the champion, {self.title} in MLflow's registry, holds no {SAVED_MODEL}/saved_model.pb; "
                f"expected a model that a run has registered. {advice}"
            )
        return self._checked(model, advice)

    def _from_serving(self, place: UPath, content: Content) -> Path:
        advice = f"Remove {place}, or bring another version back by rnnpipe rollback."
        try:
            if problem := damage(place, content):
                raise self._refused(problem, advice)
            return self._checked(local_copy(place), advice)
        except OSError as error:
            raise self._refused(str(error), advice) from error

    def _downloaded(self, directory: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        if (path := file_path(self.uri)) is not None:
            return path
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return Path(
                download_artifacts(
                    artifact_uri=self.uri, dst_path=str(directory), tracking_uri=self.tracking_uri
                )
            )
        except Exception as error:
            raise UserError(
                f"the champion's files cannot be had from {self.uri}: {one_line(error)}"
            ) from error

    def _checked(self, model: Path, advice: str) -> Path:
        if problem := _problem(model):
            raise self._refused(problem, advice)
        return model

    def _refused(self, problem: str, advice: str) -> UserError:
        where = " in MLflow's registry" if self.tracking_uri else ""
        return UserError(f"the champion, {self.title}{where}, cannot be asked: {problem}. {advice}")


def _problem(saved_model: Path) -> str:
    """Why a SavedModel cannot be measured; empty if it can."""
    from components.export.session import SavedModelError, SavedModelSession

    try:
        with SavedModelSession(saved_model) as session:
            signature = session.signature()
    except SavedModelError as error:
        return str(error)
    outputs = {name: info.dtype for name, info in signature.outputs.items()}
    if list(signature.inputs) != ["text"] or not _OUTPUTS.items() <= outputs.items():
        return f"it takes {list(signature.inputs)} and gives {outputs}; expected ['text'] and {_OUTPUTS}"
    return ""


def find_champion(uri: str, name: str) -> Champion | None:
    """Asks the registry for a model's champion.

    Args:
        uri: where MLflow keeps its runs and models.
        name: of the registered model.

    Returns:
        The version with the alias; None if there is no such model or alias.

    Raises:
        UserError: if MLflow cannot be asked.
    """
    with asking(uri) as client:
        if client is None:
            return None
        from mlflow.exceptions import MlflowException

        try:
            version = client.get_model_version_by_alias(name, CHAMPION)
            source = client.get_model_version_download_uri(name, version.version)
        except MlflowException as error:
            # A model without the alias is an invalid parameter, an unknown model a missing resource.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    weights, _, decoding = version.tags.get(MODEL, "").partition("-")
    model = ModelId(weights, decoding) if weights else None
    digest = version.tags.get(DIGEST, "")
    return Champion(f"version {version.version}", model, digest, source, absolute_uri(uri))
