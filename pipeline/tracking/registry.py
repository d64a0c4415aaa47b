"""Models in MLflow's registry: who is the champion, and how another one becomes it."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import components.export
from components.errors import UserError
from components.export.push import amend_note, latest_version, read_note
from pipeline.tracking.mlflow_client import (
    absolute_uri,
    database_path,
    one_line,
    open_client,
    quiet_mlflow,
    without_password,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"  # the alias
KEY = "rnnpipe.key"  # the tag that holds the key of the export artifact
CONTENT = "rnnpipe.content"  # the tag that holds the digest of its files
MODEL = "rnnpipe.model"  # the tag that tells the model, however it was evaluated and exported
_SERVED = Path("artifacts", "model")  # where MLflow keeps the SavedModel in its own model
_PYFUNC = Path(components.export.__file__).with_name("pyfunc_model.py")
_OUTPUTS = {"prediction": "string", "score": "float32"}
_LIBRARIES = ("tensorflow", "tensorflow-text", "numpy", "pandas")


@dataclass(frozen=True)
class Champion:
    """The model that others must not fall behind.

    Args:
        title: what people call it.
        key: of the export artifact it was made from; empty if somebody else registered it.
        model: tells it from other models, however they were evaluated and exported; empty as above.
        content: digest of its files; empty as above, or if an older rnnpipe registered it.
        uri: where its files are.
        tracking_uri: whose registry it was found in; empty if it was found where it is served.
    """

    title: str
    key: str
    model: str
    content: str
    uri: str
    tracking_uri: str

    @property
    def identity(self) -> str:
        """Tells its answers from others'."""
        return self.content or self.key or self.uri

    def fetch(self, directory: Path) -> Path:
        """Returns the SavedModel's directory; what is not on this machine is copied into `directory` first.

        Raises:
            UserError: if it cannot be had, or holds no SavedModel.
        """
        from mlflow.artifacts import download_artifacts

        address = urlsplit(self.uri)
        local = Path(url2pathname(address.path)) if address.scheme == "file" else None
        try:
            if local is None:
                directory.mkdir(parents=True, exist_ok=True)
                local = Path(
                    download_artifacts(
                        artifact_uri=self.uri, dst_path=str(directory), tracking_uri=self.tracking_uri
                    )
                )
        except Exception as error:
            raise UserError(
                f"the champion's files cannot be had from {self.uri}: {one_line(error)}"
            ) from error
        if not self.tracking_uri:
            return self._checked(local, f"Remove {local}, or bring another version back by rnnpipe rollback.")
        model, advice = local / _SERVED, f"Move the alias {CHAMPION} to another version, or remove it."
        if not (model / "saved_model.pb").is_file():
            raise UserError(
                f"the champion, {self.title} in MLflow's registry, holds no {_SERVED}/saved_model.pb; "
                f"expected a model that a run has registered. {advice}"
            )
        return self._checked(model, advice)

    def _checked(self, model: Path, advice: str) -> Path:
        if problem := _problem(model):
            where = " in MLflow's registry" if self.tracking_uri else ""
            raise UserError(f"the champion, {self.title}{where}, cannot be asked: {problem}. {advice}")
        return model


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
    database = database_path(uri)
    if database and not database.exists():
        return None
    quiet_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        client = open_client(uri)
        version = client.get_model_version_by_alias(name, CHAMPION)
        source = client.get_model_version_download_uri(name, version.version)
    except MlflowException as error:
        # A model without the alias is an invalid parameter, an unknown model a missing resource.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise UserError(_away(uri, error)) from error
    except Exception as error:
        raise UserError(_away(uri, error)) from error
    key, model, content = (version.tags.get(name, "") for name in (KEY, MODEL, CONTENT))
    return Champion(f"version {version.version}", key, model, content, source, absolute_uri(uri))


def _away(uri: str, error: Exception) -> str:
    return f"MLflow at {without_password(uri)} cannot be asked for the champion: {one_line(error)}"


def save_pyfunc(directory: Path, saved_model: Path, example: str) -> None:
    """Writes a SavedModel as a pyfunc model with signature and input example.

    Args:
        directory: where to; created.
        saved_model: its directory, named `model`.
        example: a text to ask it.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    mlflow.pyfunc.save_model(
        directory,
        python_model=str(_PYFUNC),
        artifacts={"saved_model": str(saved_model)},
        signature=ModelSignature(
            inputs=Schema([ColSpec("string", "text")]),
            outputs=Schema([ColSpec("string", "prediction"), ColSpec("double", "score")]),
        ),
        input_example=pd.DataFrame({"text": [example]}),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _LIBRARIES],
    )


def log_model(client: MlflowClient, run_id: str, name: str, served: Path, example: str) -> str:
    """Logs a SavedModel with a run, as a pyfunc model.

    Args:
        client: of MLflow.
        run_id: the run.
        name: what the model is called.
        served: its directory.
        example: a text to ask it.

    Returns:
        MLflow's id of the model.
    """
    from mlflow.entities import LoggedModelOutput

    with tempfile.TemporaryDirectory() as folder:
        directory, saved_model = Path(folder) / "pyfunc", Path(folder) / _SERVED.name
        shutil.copytree(served, saved_model)  # under this name it is found again
        save_pyfunc(directory, saved_model, example)
        run = client.get_run(run_id)
        model = client.create_logged_model(
            run.info.experiment_id,
            name=re.sub(r"[^\w-]", "-", name),  # MLflow allows no dots here
            source_run_id=run_id,
        )
        client.log_model_artifacts(model.model_id, str(directory))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def register(
    client: MlflowClient, name: str, tags: dict[str, str], model_id: str, run_id: str
) -> ModelVersion:
    """Makes a version of a logged model, and the registered model if it is the first.

    Args:
        client: of MLflow.
        name: of the registered model.
        tags: KEY, MODEL and CONTENT.
        model_id: MLflow's id of the logged model.
        run_id: the run it comes from.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
    model = client.get_logged_model(model_id)
    return client.create_model_version(
        name, model.artifact_location, run_id=run_id, tags=tags, model_id=model_id
    )


def registered(client: MlflowClient, name: str, key: str, content: str = "") -> ModelVersion | None:
    """The newest version that was made from the export artifact of that key, with that content if known."""
    wanted = f"name = '{name}' and tags.`{KEY}` = '{key}'"
    wanted += f" and tags.`{CONTENT}` = '{content}'" if content else ""
    return max(client.search_model_versions(wanted), key=lambda each: int(each.version), default=None)


def make_champion(client: MlflowClient, uri: str, run_id: str, served: Path, example: str) -> None:
    """Gives a served model the alias; it is logged and registered first, unless a version of it is there.

    Args:
        client: of MLflow.
        uri: where the client's registry is, absolute.
        run_id: the run it is logged with.
        served: the directory of the version, whose parent has the model's name.
        example: a text to ask it.
    """
    base, version = served.parent, int(served.name)
    note = read_note(base, version)
    if note is None:
        return  # it has been removed since
    found = registered(client, base.name, note.key, note.content)
    if found is None:
        model_id = log_model(client, run_id, base.name, served, example)
        tags = {KEY: note.key, MODEL: note.model, CONTENT: note.content}
        found = register(client, base.name, tags, model_id, run_id)
    if version == latest_version(base):  # another model may have followed
        crown(client, base.name, found.version)
    note = read_note(base, version)
    if note and note.tracking == without_password(uri):  # it may be meant for another registry now
        amend_note(base, version, registered=True)


def crown(client: MlflowClient, name: str, version: str) -> None:
    """Gives a version the alias."""
    client.set_registered_model_alias(name, CHAMPION, version)
