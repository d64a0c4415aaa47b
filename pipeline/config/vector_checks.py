"""What is wrong with the word vectors that a configuration names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from components import files
from components.errors import UserError
from components.models.config import ModelConfig
from components.models.vector_files import VectorFormat
from components.user_file import UserFile
from pipeline.config.paths import no_file
from pipeline.config.problems import KeyPath, Problem
from pipeline.config.runner_checks import is_remote, sees_local_files, unseen
from pipeline.config.runners import Runner

if TYPE_CHECKING:
    from pipeline.config.models import PipelineConfig

_FILE: KeyPath = ("model", "embeddings", "file")


def check_vectors(runner: Runner, model: ModelConfig) -> Iterator[Problem]:
    """Yields vectors that no encoder reads, or that workers elsewhere do not see."""
    file = model.embeddings.file
    if file is None:
        return
    if model.encoder.reads_tokens:
        message = f"the encoder {model.encoder.type} reads the numbers of tokens, not embeddings; remove it"
        yield Problem(_FILE, message)
    elif not sees_local_files(runner) and not is_remote(file):
        yield Problem(_FILE, unseen(runner, file, "s3://bucket/vectors.txt.gz"))


def missing_vectors(model: ModelConfig) -> Iterator[Problem]:
    """Yields a local file that is not there, is none of vectors, or is not as wide as the embeddings."""
    name = model.embeddings.file
    if name is None or "://" in name:
        return
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        yield Problem(_FILE, f"'{name}' is a directory; expected a file of vectors")
        return
    if not os.path.isfile(path):
        yield Problem(_FILE, no_file(name))
        return
    try:
        dimension = VectorFormat.of(UserFile(name, files.resolve(name))).dimension
    except UserError as error:
        yield Problem(_FILE, str(error))
        return
    except OSError as error:
        yield Problem(_FILE, f"'{name}' cannot be read: {error.strerror}; check its permissions")
        return
    if model.embedding_size not in (None, dimension):
        yield Problem(
            ("model", "embedding_size"),
            f"received {model.embedding_size}, but the vectors of {name} have {dimension} numbers; expected "
            "the same, or remove it",
        )


def vector_names(config: PipelineConfig) -> list[str]:
    """Returns the files of vectors of a run, of all trials of a sweep, as the user wrote them."""
    names = [config.model.embeddings.file]
    for key, values in (config.sweep.over if config.sweep else {}).items():
        for value in values if isinstance(values, list) else ():
            if key == "model.embeddings.file":
                names.append(value)
            elif key == "model.embeddings" and isinstance(value, dict):
                names.append(value.get("file"))
    return list(dict.fromkeys(name for name in names if name))
