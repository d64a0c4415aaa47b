"""Makes the artifacts of ingest and tokenize from rows, for tests of what reads them."""

import json
import uuid
from collections import Counter

import pyarrow
from stage_runner import commit

from components import files
from components.artifacts.examples import STATISTICS, Examples, ExampleWriter, kept_name
from components.artifacts.examples import part_name as examples_name
from components.artifacts.tokens import Tokens, TokenWriter, write_labels, write_tokenizer
from components.artifacts.tokens import part_name as tokens_name
from components.strict import FIELDS, SPLITS
from components.work import Made, Work


def make_examples(root, task, splits, key=None) -> Examples:
    """Makes the artifact of ingest.

    Args:
        root: a folder.
        task: decides the fields.
        splits: by split, files; of each the rows: a tuple of texts in the order of the fields, or a dict,
            which may hold further columns that were kept.
        key: of the artifact; by default a new one.
    """
    work = Work(files.resolve(root), Examples.stage, key or uuid.uuid4().hex)
    made = []
    with work.attempt() as attempt:
        for split, parts in splits.items():
            for index, part in enumerate(parts):
                rows = [
                    row if isinstance(row, dict) else dict(zip(FIELDS[task], row, strict=True))
                    for row in part
                ]
                columns = {name: [row[name] for row in rows] for name in rows[0]}
                own = {name: columns.pop(name) for name in FIELDS[task]}
                name = examples_name(split, index)
                made.append(_written(attempt, name, own))
                if columns:
                    made.append(_written(attempt, kept_name(name), columns))
        counts = {split: {"examples": sum(map(len, splits.get(split, [])))} for split in SPLITS}
        if task == "classification":
            for split in SPLITS:
                rows = [row for part in splits.get(split, []) for row in part]
                counts[split]["labels"] = Counter(
                    row["label"] if isinstance(row, dict) else row[1] for row in rows
                )
        made.append(attempt.put(STATISTICS, json.dumps({"splits": counts}).encode()))
    return commit(Examples, work, Made(tuple(made), {}))


def make_tokens(root, task, splits, tokenizers=None, labels=None, statistics=None, key=None) -> Tokens:
    """Makes the artifact of tokenize.

    Args:
        root: a folder.
        task: decides the fields.
        splits: by split, files; of each the rows: a tuple in the order of the fields, or a dict, of a list
            of ids for a text and a number for a label.
        tokenizers: by text field.
        labels: by number.
        statistics: what statistics.json holds.
        key: of the artifact; by default a new one.
    """
    work = Work(files.resolve(root), Tokens.stage, key or uuid.uuid4().hex)
    made = []
    with work.attempt() as attempt:
        for split, parts in splits.items():
            for index, part in enumerate(parts):
                rows = [
                    row if isinstance(row, dict) else dict(zip(FIELDS[task], row, strict=True))
                    for row in part
                ]
                writer = TokenWriter(attempt, tokens_name(split, index), FIELDS[task])
                columns = {
                    field: pyarrow.array([row[field] for row in rows], kind)
                    for field, kind in zip(FIELDS[task], _types(task), strict=True)
                }
                writer.write(columns)
                made.append(writer.close())
        for field, tokenizer in (tokenizers or {}).items():
            made += write_tokenizer(attempt, field, tokenizer)
        if labels is not None:
            made.append(write_labels(attempt, labels))
        made.append(attempt.put(STATISTICS, json.dumps(statistics or {}).encode()))
    return commit(Tokens, work, Made(tuple(made), {}))


def _written(attempt, name, columns):
    writer = ExampleWriter(attempt, name, tuple(columns))
    writer.write(tuple(columns.values()))
    return writer.close()


def _types(task):
    ids = pyarrow.list_(pyarrow.int32())
    return ids, pyarrow.int32() if task == "classification" else ids
