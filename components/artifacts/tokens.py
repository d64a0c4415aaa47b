"""The tokenize stage's artifact: vocabularies, and the examples as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.artifacts.artifact import Artifact, FileRef
from components.artifacts.columns import ColumnWriter, read_columns
from components.strict import Split
from components.work import Attempt

if TYPE_CHECKING:
    import pyarrow

    from components.tokenize.config import TokenizerConfig
    from components.tokenize.tokenizers import Tokenizer

LABELS = "tokenizer/labels.txt"
TOKENIZER_FILE = "tokenizer.json"
"""In the folder of a tokenizer: its configuration and its pieces."""
STATISTICS = "statistics.json"

UNKNOWN_LABEL = -1
"""The number of a label that the train split does not have."""


class Tokens(Artifact):
    """Tokenizers and labels, token ids in Parquet, and what is known about them.

    The files of a split go with those of the examples, number by number and row by row.
    """

    stage = "tokenize"
    parts: ClassVar = {
        "vocabulary": ("tokenizer/",),
        "train": ("tokens/train-",),
        "validation": ("tokens/validation-",),
        "test": ("tokens/test-",),
        "report": (STATISTICS,),
    }
    published = (STATISTICS,)

    def parts_of(self, split: Split) -> list[str]:
        """Returns the logical names of a split's files in their order; none where it has no examples."""
        return self.names(f"tokens/{split}-")

    def count(self, split: Split) -> int:
        """Returns how many examples a split has."""
        from pyarrow import parquet

        return sum(parquet.read_metadata(self.file(name)).num_rows for name in self.parts_of(split))

    def batches(
        self, name: str, fields: Sequence[str], batch_size: int = 1024
    ) -> Iterator[dict[str, pyarrow.Array]]:
        """Reads a file of tokens in order, without holding more than a few batches in memory.

        Args:
            name: one of `parts_of`.
            fields: fields of the task.
            batch_size: examples of a batch; the last one may be smaller.

        Yields:
            By field, in the order asked for: token ids of a text as list<int32>, without start and end, where
            `flatten()` gives the ids of all and `value_lengths()` how many each has; numbers of labels as
            int32, `UNKNOWN_LABEL` for one that train does not have.

        Raises:
            KeyError: if there is no such field.
        """
        yield from read_columns(self.file(name), fields, batch_size)

    def tokenizer(self, field: str) -> Tokenizer:
        """Loads the tokenizer of a text field.

        Raises:
            UserError: if there is none.
        """
        from components.tokenize.tokenizers import load_tokenizer

        return load_tokenizer(str(self.folder(tokenizer_folder(field))))

    def text_fields(self) -> list[str]:
        """Returns the fields that have a tokenizer, sorted."""
        starts, ends = tokenizer_folder(""), f"/{TOKENIZER_FILE}"
        return [name[len(starts) : -len(ends)] for name in self.names(starts) if name.endswith(ends)]

    def tokenizer_config(self, field: str) -> TokenizerConfig:
        """Returns the configuration of a text field's tokenizer, without loading TensorFlow."""
        from components.tokenize.config import tokenizer_config

        return tokenizer_config(self._saved(field)["config"])

    def pieces(self, field: str) -> list[str]:
        """Returns what the ids of a text field stand for, without loading TensorFlow."""
        pieces: list[str] = self._saved(field)["pieces"]
        return pieces

    def _saved(self, field: str) -> dict[str, Any]:
        saved: dict[str, Any] = self.json(f"{tokenizer_folder(field)}/{TOKENIZER_FILE}")
        return saved

    def labels(self) -> list[str]:
        """Returns the labels; the number of each is its place."""
        return read_labels(self.file(LABELS))

    def statistics(self) -> dict[str, Any]:
        """Returns counts, lengths, unknown tokens and warnings; see components/tokenize/statistics.py."""
        statistics: dict[str, Any] = self.json(STATISTICS)
        return statistics


def part_name(split: Split, index: int) -> str:
    """Returns the logical name of a file of tokens."""
    return f"tokens/{split}-{index:05d}.parquet"


def tokenizer_folder(field: str) -> str:
    """Returns the logical name of the folder of a field's tokenizer."""
    return f"tokenizer/{field}"


def write_labels(attempt: Attempt, labels: Iterable[str]) -> FileRef:
    """Writes labels, one a line; a label's number is that of its line, from 0.

    Args:
        attempt: whose file it is.
        labels: by number, none of them with a line break.
    """
    return attempt.put(LABELS, "".join(f"{label}\n" for label in labels).encode())


def read_labels(path: Path) -> list[str]:
    """Reads what `write_labels` wrote."""
    return path.read_bytes().decode().removesuffix("\n").split("\n")


def write_tokenizer(attempt: Attempt, field: str, tokenizer: Tokenizer) -> list[FileRef]:
    """Writes the tokenizer of a text field."""
    folder = tokenizer_folder(field)
    tokenizer.save(str(attempt.path(folder)))
    return attempt.add_folder(folder)


class TokenWriter:
    """Writes a file of tokens batch by batch.

    Args:
        attempt: whose file it is.
        name: as `part_name` gives it.
        fields: of the task, in order.
    """

    def __init__(self, attempt: Attempt, name: str, fields: Sequence[str]) -> None:
        import pyarrow

        ids, number = pyarrow.list_(pyarrow.int32()), pyarrow.int32()
        self._attempt = attempt
        self._name = name
        self._fields = fields
        self._writer = ColumnWriter(
            attempt.path(name), {field: number if field == "label" else ids for field in fields}
        )

    def write(self, columns: Mapping[str, pyarrow.Array]) -> None:
        """Adds examples.

        Args:
            columns: by field, as `Tokens.batches` yields them.
        """
        self._writer.write([columns[field] for field in self._fields])

    def close(self) -> FileRef:
        """Finishes the file."""
        self._writer.close()
        return self._attempt.add(self._name)
