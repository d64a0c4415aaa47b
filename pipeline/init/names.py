"""What files are called in a configuration, and a configuration after its files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from components.strict import Split
from pipeline.init.inputs import Given
from pipeline.init.looking import Looked
from pipeline.init.roles import Roles

_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def files_of(splits: dict[Split, list[Given]], given: Sequence[Given]) -> Any:
    """As `ingest.files` has them: globs where they match nothing else."""
    by_name: dict[Split, Any] = {}
    for split, files in splits.items():
        patterns = dict.fromkeys(file.pattern for file in files)
        whole = all(file.split == files[0].split for file in given if file.pattern in patterns)
        names = list(patterns) if whole else [file.name for file in files]
        by_name[split] = names[0] if len(names) == 1 else names
    return by_name["train"] if list(by_name) == ["train"] else by_name


def aligned_files(splits: dict[Split, list[Given]], looked: Looked, roles: Roles) -> dict[str, Any]:
    """The section `ingest` for files whose lines belong together."""
    position = {name: looked.columns.index(column) for name, column in roles.columns.items()}
    return {
        "files": {
            split: {name: files[place].name for name, place in position.items()}
            for split, files in splits.items()
        },
        **looked.layout.settings(),
    }


def name_of(train: Given) -> str:
    """A pipeline's name after its file, or the folder where the file's name only says which split it is."""
    folder, base = os.path.split(os.path.abspath(train.name) if "://" not in train.name else train.name)
    stem = base.partition(".")[0]
    if train.split and os.path.basename(train.stem) == base:  # the word is in the folder's name
        stem = os.path.basename(os.path.dirname(folder))
    elif train.split:
        stem = os.path.basename(train.stem).partition(".")[0].replace("*", "")
        if not _NAME.sub("", stem).strip("._-"):
            stem = os.path.basename(folder)
    return _NAME.sub("-", stem).strip("._-").lower()[:100] or "texts"
