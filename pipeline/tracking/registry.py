"""Models in MLflow's registry: how one is logged, registered and made the champion."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import components.export
from components import files
from components.artifacts.evaluation import Evaluation
from components.errors import UserError
from components.redaction import without_password
from pipeline.serving.served import Served
from pipeline.serving.versions import Content, local_copy
from pipeline.tracking.mlflow_client import (
    Failure,
    database_path,
    failure_of,
    one_line,
    open_client,
    quiet_mlflow,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"  # the alias
MODEL = "rnnpipe.model"  # the tag that holds the ModelId: weights-decoding
DIGEST = "rnnpipe.digest"  # the tag that holds the digest of its files
SAVED_MODEL = Path("artifacts", "model")  # where MLflow keeps the SavedModel in its own model
_saving = threading.Lock()  # two threads at it leave a module of MLflow's in sys.modules
_PYFUNC = Path(components.export.__file__).with_name("pyfunc_model.py")
_LIBRARIES = ("tensorflow", "tensorflow-text", "numpy", "pandas")


@contextlib.contextmanager
def asking(uri: str) -> Iterator[MlflowClient | None]:
    """Gives a client to ask the registry; None where there is no database yet.

    Args:
        uri: where MLflow keeps its runs and models.

    Raises:
        UserError: if MLflow cannot be asked.
    """
    database = database_path(uri)
    if database and not database.exists():
        yield None
        return
    quiet_mlflow()
    try:
        yield open_client(uri)
    except UserError:
        raise
    except Exception as error:
        where = without_password(uri)
        raise UserError(f"MLflow at {where} cannot be asked for the champion: {one_line(error)}") from error


def is_registered(uri: str, name: str, digest: str) -> bool:
    """Whether the registry has a version of a model with these files.

    Raises:
        UserError: if MLflow cannot be asked.
    """
    with asking(uri) as client:
        return client is not None and registered(client, name, digest) is not None


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

    with _saving:
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


def log_model(
    client: MlflowClient, run_id: str, name: str, served: Path, example: str, digest: str = ""
) -> str:
    """Logs a SavedModel with a run, as a pyfunc model, unless the run has it.

    Args:
        client: of MLflow.
        run_id: the run.
        name: what the model is called.
        served: its directory.
        example: a text to ask it.
        digest: of its files, by which it is recognised; empty if it is not to be.

    Returns:
        MLflow's id of the model.
    """
    from mlflow.entities import LoggedModelOutput

    experiment = client.get_run(run_id).info.experiment_id
    if digest:  # it may have been logged by a process that was killed before it could register it
        wanted = f"tags.`{DIGEST}` = '{digest}' AND source_run_id = '{run_id}'"
        for logged in client.search_logged_models([experiment], wanted):
            if logged.status == "READY" and client.list_logged_model_artifacts(logged.model_id):
                return str(logged.model_id)
    with tempfile.TemporaryDirectory() as folder:
        directory, saved_model = Path(folder) / "pyfunc", Path(folder) / SAVED_MODEL.name
        shutil.copytree(served, saved_model)  # under this name it is found again
        save_pyfunc(directory, saved_model, example)
        model = client.create_logged_model(
            experiment,
            name=re.sub(r"[^\w-]", "-", name),  # MLflow allows no dots here
            source_run_id=run_id,
            tags={DIGEST: digest} if digest else {},
        )
        client.log_model_artifacts(model.model_id, str(directory))
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def register(client: MlflowClient, name: str, content: Content, model_id: str, run_id: str) -> ModelVersion:
    """Makes a version of a logged model, and the registered model if it is the first.

    Of processes that register the same files at once the first has its way; what the others have created
    they delete.

    Args:
        client: of MLflow.
        name: of the registered model.
        content: what its files are.
        model_id: MLflow's id of the logged model.
        run_id: the run it comes from.

    Returns:
        The version that has these files.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        try:
            client.create_registered_model(name)
        except MlflowException as taken:  # another process was quicker
            if taken.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    model = client.get_logged_model(model_id)
    tags = {DIGEST: content.digest}
    if content.model is not None:
        tags[MODEL] = "-".join(content.model)
    version = client.create_model_version(
        name, model.artifact_location, run_id=run_id, tags=tags, model_id=model_id
    )
    first = registered(client, name, content.digest) or version
    if int(first.version) < int(version.version):
        client.delete_model_version(name, version.version)
        client.delete_logged_model(model_id)
    return first


def registered(client: MlflowClient, name: str, digest: str) -> ModelVersion | None:
    """The first version of a registered model that has these files."""
    versions = client.search_model_versions(f"name = '{name}' and tags.`{DIGEST}` = '{digest}'")
    return min(versions, key=lambda version: int(version.version), default=None)


def register_served(
    client: MlflowClient, uri: str, run_id: str, place: str, evaluation: Evaluation | None
) -> None:
    """Makes a served model the champion, unless that was done.

    Args:
        client: of MLflow.
        uri: where the client's registry is, absolute.
        run_id: the run it is logged with.
        place: the directory of the version that was pushed; if it was pushed again since, that one counts.
        evaluation: of the model, which has a text to ask it.
    """
    directory = files.resolve(place)
    served, number = Served(directory.parent.parent, directory.parent.name), int(directory.name)
    seen, content = served.look(), served.content(number, directory)
    if content is not None and served.place_of(seen, content.digest) is not None:
        number = seen.newest or number
    if content is None or number not in seen.versions:
        return  # it has been removed since
    noted = served.claims.registered(number, without_password(uri))
    if not noted or registered(client, served.name, content.digest) is None:
        example = evaluation.example_question() if evaluation else None
        make_champion(client, uri, run_id, str(seen.versions[number]), example or "")


def make_champion(
    client: MlflowClient, uri: str, run_id: str, place: str | os.PathLike[str], example: str
) -> None:
    """Gives a served model the alias; it is logged and registered first, unless a version of it is there.

    It may be repeated.

    Args:
        client: of MLflow.
        uri: where the client's registry is, absolute.
        run_id: the run it is logged with.
        place: the directory of the version, whose parent has the model's name.
        example: a text to ask it.
    """
    directory = files.resolve(place)
    name, number = directory.parent.name, int(directory.name)
    served = Served(directory.parent.parent, name)
    seen = served.look()
    content = served.content(number, directory) if number in seen.versions else None
    if content is None:
        return  # it has been removed since
    version = registered(client, name, content.digest)
    if version is None:
        model_id = log_model(client, run_id, name, local_copy(directory), example, content.digest)
        version = register(client, name, content, model_id, run_id)
    if number == served.look().newest:  # another model may have followed
        move_alias(client, served)
    served.claims.mark(number, "registered", without_password(uri))


def move_alias(client: MlflowClient, served: Served) -> ModelVersion | None:
    """Gives the alias to the newest served version, also if that is pushed at this very moment.

    A process that registers a newer version moves the alias afterwards, so the last one to look sees it.

    Args:
        client: of MLflow.
        served: the model.

    Returns:
        The registry's version that has the alias now; None if it has no version of what is served.
    """
    refused = False
    while True:
        seen = served.look()
        newest = seen.newest
        content = served.content(newest, seen.versions[newest]) if newest is not None else None
        version = registered(client, served.name, content.digest) if content else None
        if version is None:
            return None
        try:
            client.set_registered_model_alias(served.name, CHAMPION, version.version)
        except Exception as error:
            if refused or failure_of(error) is not Failure.CONFLICT:
                raise
            refused = True  # by the row of another process, which is there the next time
            continue
        if served.look().newest == newest:
            return version
