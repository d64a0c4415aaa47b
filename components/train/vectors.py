"""Word vectors as a model's embeddings, before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.models.config import ModelConfig
from components.models.vector_files import VectorFormat, reading
from components.reports import Progress, Warned, emit
from components.strict import FIELDS, Task
from components.tokenize.tokenizers import SPECIAL_TOKENS
from components.train.coverage import told
from components.user_file import UserFile

_MOST_DAMAGED = 0.01  # of the lines
_LEAST_COVERED = 0.2  # of the tokens
_TOLD = 100_000  # vectors from one report to the next


def with_width(model: ModelConfig, vectors: UserFile | None) -> ModelConfig:
    """Returns the network as it is built: as wide as its vectors, and without the place of their file.

    Args:
        model: the network, as configured.
        vectors: its vectors; None if it has none.

    Raises:
        UserError: its `embedding_size` is another, or the file is none of vectors.
    """
    if vectors is None:
        return model
    try:
        dimension = VectorFormat.of(vectors).dimension
    except UserError as error:
        raise UserError(f"model.embeddings.file: {error}") from error
    if model.embedding_size not in (None, dimension):
        raise UserError(
            f"model.embedding_size: received {model.embedding_size}, but the vectors of {vectors.name} have "
            f"{dimension} numbers; expected the same, or nothing."
        )
    embeddings = model.embeddings.model_copy(update={"file": None})
    return model.model_copy(update={"embedding_size": dimension, "embeddings": embeddings})


@dataclass
class Found:
    """The vectors of a vocabulary.

    Args:
        read: how many the file has.
        skipped: how many of them are damaged.
        exact: by id, the vectors of tokens.
        folded: those of case-folded tokens.
    """

    read: int = 0
    skipped: int = 0
    exact: dict[int, np.ndarray] = field(default_factory=dict)
    folded: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> dict[int, np.ndarray]:
        """By id, the vector of the token, or else of the case-folded one."""
        return {**self.folded, **self.exact}


def find_vectors(file: UserFile, form: VectorFormat, pieces: Sequence[str]) -> Found:
    """Reads the vectors of a vocabulary, and holds no others; of a token that is there twice the first.

    Args:
        file: of the vectors.
        form: how it is written.
        pieces: by id, empty for one that is none. A token without a vector gets that of its case-folded form.
    """
    wanted = {piece.encode(): [number] for number, piece in enumerate(pieces) if piece}
    folded: dict[bytes, list[int]] = {}
    for number, piece in enumerate(pieces):
        if (fold := piece.casefold()) != piece:
            folded.setdefault(fold.encode(), []).append(number)
    found = Found()
    with reading(file, form) as entries:
        for token, numbers in entries:
            found.read += 1
            if found.read % _TOLD == 0:
                emit(Progress("train", found.read, form.count, "reading vectors"))
            if numbers is None:
                found.skipped += 1
                continue
            pairs = ((wanted.get(token, ()), found.exact), (folded.get(token, ()), found.folded))
            missing = [(number, rows) for ids, rows in pairs for number in ids if number not in rows]
            if not missing:
                continue
            vector = form.vector(numbers)
            if vector is None:
                found.skipped += 1
                continue
            for number, rows in missing:
                rows[number] = vector
    return found


def put_vectors(model: keras.Model, task: Task, tokens: Tokens, file: UserFile) -> dict[str, Any]:
    """Sets the embeddings of the text that a new model reads to word vectors.

    Tokens without one keep what was drawn for them, scaled to the standard deviation of the vectors.

    Args:
        model: a new Classifier or Seq2Seq, as wide as the vectors.
        task: decides whose tokens they are.
        tokens: the vocabulary, and the train split, in which tokens are counted.
        file: of the vectors.

    Returns:
        The coverage, for the summary: `tokens`, and how many of them are `covered`, `folded` ones among them;
        `text`, the share of the train split's tokens that they are; what was `read` and `skipped`.

    Raises:
        UserError: no token has a vector, or too many lines are damaged.
    """
    name = FIELDS[task][0]
    form = VectorFormat.of(file)
    pieces = ["" if number < len(SPECIAL_TOKENS) else each for number, each in enumerate(tokens.pieces(name))]
    try:
        found = find_vectors(file, form, pieces)
    except UserError as error:
        raise UserError(f"model.embeddings.file: {error}") from error
    _check(found, form, file)
    layer = model.embedding if task == "classification" else model.source_embedding
    rows = found.rows
    numbers = np.array(sorted(rows))
    vectors = np.stack([rows[number] for number in numbers])
    values = np.array(layer.embeddings.numpy())
    values *= vectors.std() / max(values.std(), keras.config.epsilon())
    values[numbers] = vectors
    layer.embeddings.assign(values)
    counts = _counts(tokens, name, len(values))
    coverage = {
        "tokens": len(pieces) - len(SPECIAL_TOKENS),
        "covered": len(rows),
        "folded": len(found.folded.keys() - found.exact.keys()),
        "text": round(float(counts[numbers].sum() / max(counts.sum(), 1)), 6),
        "dimension": form.dimension,
        "read": found.read,
        "skipped": found.skipped,
    }
    for warning in _warnings(coverage, file):
        emit(Warned("train", warning))
    return coverage


def _counts(tokens: Tokens, name: str, size: int) -> np.ndarray:
    """How often every id occurs in the train split."""
    counts = np.zeros(size, np.int64)
    for part in tokens.parts_of("train"):
        for columns in tokens.batches(part, (name,)):
            counts += np.bincount(columns[name].flatten().to_numpy(), minlength=size)
    return counts


def _check(found: Found, form: VectorFormat, file: UserFile) -> None:
    if found.skipped > _MOST_DAMAGED * found.read:
        raise UserError(
            f"model.embeddings.file: {found.skipped:,} of {found.read:,} lines of {file.name} are damaged, "
            f"expected a token and {form.dimension} numbers in nearly all of them. Get the file again; a "
            "binary one needs a name with .bin."
        )
    if not found.rows:
        raise UserError(
            f"model.embeddings.file: none of the {found.read:,} vectors of {file.name} is of a token of the "
            "vocabulary. Give vectors of the same language, and a tokenizer whose tokens are theirs, such as "
            "words."
        )


def _warnings(coverage: dict[str, Any], file: UserFile) -> list[str]:
    warnings = []
    if coverage["skipped"]:
        warnings.append(
            f"{coverage['skipped']:,} of {coverage['read']:,} lines of {file.name} are damaged, and skipped"
        )
    if coverage["covered"] < _LEAST_COVERED * coverage["tokens"]:
        warnings.append(
            f"{told(coverage)}: most stay as they were drawn. Vectors of words need a tokenizer of words"
        )
    return warnings
